// node open_sealed.mjs FILE...: opens sealed key files as docs/reference/keyfile.md describes them, with Node's own
// AES-GCM. It shares no code with the library. Prints "ok NAME" or "FAIL NAME: why"; exits with 1 if one failed.
import { createDecipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const FORMAT = "ghasi-handoff-sealed-keys/v1";
const MEMBERS = "ciphertext format nonce purpose wrapped_key";

function bytes(text) {
  const data = Buffer.from(text, "base64url");
  if (data.toString("base64url") !== text) throw new Error("not canonical base64url");
  return data;
}

function decrypt(key, nonce, sealed, context) {
  if (nonce.length !== 12 || sealed.length < 16) throw new Error("nonce or tag of a wrong length");
  const cipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 });
  cipher.setAAD(context);
  cipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
}

function open(text, kek, purpose) {
  const file = JSON.parse(text);
  if (file.format !== FORMAT || file.purpose !== purpose) throw new Error("another format or purpose");
  if (Object.keys(file).sort().join(" ") !== MEMBERS) throw new Error("other members");
  const context = Buffer.from(`${FORMAT}\nAES-256-GCM\n${purpose}`, "ascii");
  const wrapped = bytes(file.wrapped_key);
  const dataKey = decrypt(kek, wrapped.subarray(0, 12), wrapped.subarray(12), context);
  return { dataKey, context, ring: decrypt(dataKey, bytes(file.nonce), bytes(file.ciphertext), context) };
}

let failed = 0;
for (const path of process.argv.slice(2)) {
  const vector = JSON.parse(readFileSync(path, "utf8"));
  let problem = "";
  try {
    const opened = open(vector.file, bytes(vector.kek), vector.purpose);
    if (vector.expect !== "opens") problem = "it opens";
    else if (opened.ring.toString("utf8") !== vector.ring) problem = "another ring";
    else if (!opened.dataKey.equals(bytes(vector.data_key))) problem = "another data key";
    else if (opened.context.toString("ascii") !== vector.context) problem = "another context";
  } catch (error) {
    if (vector.expect !== "refused") problem = error.message;
  }
  console.log(problem ? `FAIL ${basename(path)}: ${problem}` : `ok ${basename(path)}`);
  failed += problem ? 1 : 0;
}
process.exit(failed ? 1 : 0);
