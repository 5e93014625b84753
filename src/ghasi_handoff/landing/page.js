(function () {
  var form = document.getElementById("handoff"), sent = false;
  if (!form) { history.replaceState(null, "", location.pathname); return; }
  var delay = form.getAttribute("data-delay"), submit = form.submit.bind(form);
  var navigation = performance.getEntriesByType("navigation")[0];
  if (delay === null || (navigation && navigation.type === "back_forward")) { return; }
  function go() {
    if (sent || document.prerendering || document.visibilityState !== "visible") { return; }
    sent = true;
    if (delay === "0") { submit(); } else { setTimeout(submit, Number(delay)); }
  }
  document.addEventListener("visibilitychange", go);
  document.addEventListener("prerenderingchange", go);
  go();
})();
