// A second, independent verifier of the handoff token and the consume call, version 1, written from v1.md and consume-v1.md alone.
// It shares no code with the library.
//
// What passes through here: hostile tokens, the secrets of keys, MACs and signing strings. None of them is ever printed, logged or
// put into an error message. Nothing is read from a token before its MAC has been checked, except the kid that selects the key.
//
// As a module:  import { verifyHandoff } from "./verify.mjs"
// As a program: node verify.mjs vector.json...    exit code 0: all agree, 1: any differs, 2: wrong usage
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual, types } from "node:util";

/**
 * @typedef {"malformed" | "unknown_key" | "revoked_key" | "retired_key" | "invalid_mac" | "wrong_issuer" | "wrong_audience"
 *   | "wrong_tenant" | "lifetime_too_long" | "not_yet_valid" | "expired" | "invalid_payload"} RefusalCode
 *
 * @typedef {{kid: string, secret: Uint8Array, verifyUntil: number | null, revokedAt: number | null}} Key  A key of the ring. Times
 *   are Unix seconds; any revokedAt, even 0 or a future one, revokes. `sign_from` is not here: it plays no part in verification.
 *
 * @typedef {{adults: number, check_in: string, check_out: string, children_ages?: number[], currency?: string, locale?: string,
 *   property_id: string, quoted_total_minor?: number, rate_plan_id?: string, room_type_id?: string}} BookingPayload
 *
 * @typedef {{result: RefusalCode}} Refused
 * @typedef {{result: "accepted", signingString: string, handoffId: string, issuedAt: number, expiresAt: number,
 *   payload: BookingPayload}} Accepted  The signing string is there for comparison with test vectors; never log it.
 *
 * @typedef {object} Handoff
 * @property {readonly Key[]} keys
 * @property {string} issuer
 * @property {string} audience
 * @property {number} leeway  whole seconds, 0 to 60
 * @property {number} maxLifetime  whole seconds, 0 to 3600
 * @property {string} tenant  what the caller says, never what the token says
 * @property {number} now  the clock's one reading in Unix seconds; a fraction is floored
 * @property {unknown} token  whatever came in; only a string can be accepted
 */

/** @type {ReadonlySet<string>} */
const REFUSAL_CODES = new Set(["malformed", "unknown_key", "revoked_key", "retired_key", "invalid_mac", "wrong_issuer",
  "wrong_audience", "wrong_tenant", "lifetime_too_long", "not_yet_valid", "expired", "invalid_payload"]);

// No pattern here has the m flag: with it, ^ and $ would also match at line ends inside the text.
const KID = /^[A-Za-z0-9_-]{1,32}$/;
const NAME = /^[A-Za-z0-9._:\/-]{1,64}$/;
const TOKEN = /^ghasi1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;
const HANDOFF_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const SECONDS = /^(?:0|[1-9][0-9]{0,11})$/;
const LAST_SECOND = 253402300799; // 9999-12-31T23:59:59Z
const LF = 0x0a;

/** The verifier is set up wrongly. This is the caller's mistake, so it is thrown and never reported as a property of the token. */
export class ConfigurationError extends Error {}

/** The payload breaks the canonical form. Used inside this module only. */
class NotCanonical extends Error {}

/**
 * Judges one token. Throws ConfigurationError if anything but the token and the tenant is unusable.
 * @param {Handoff} handoff
 * @returns {Accepted | Refused}
 */
export function verifyHandoff({ keys, issuer, audience, leeway, maxLifetime, tenant, now, token }) {
  const ring = ringOf(keys);
  if (!isText(issuer, NAME)) throw new ConfigurationError("the issuer is not a name");
  if (!isText(audience, NAME)) throw new ConfigurationError("the audience is not a name");
  if (!isInteger(leeway, 0, 60)) throw new ConfigurationError("the leeway is not a whole number from 0 to 60");
  if (!isInteger(maxLifetime, 0, 3600)) throw new ConfigurationError("the max lifetime is not a whole number from 0 to 3600");
  if (!Number.isFinite(now)) throw new ConfigurationError("now is not a finite number");
  const second = Math.floor(now);

  // Step 1. The length comes first, so that a huge text costs nothing. The pattern admits ASCII only.
  if (typeof token !== "string" || token.length > 4096) return { result: "malformed" };
  const parts = TOKEN.exec(token);
  if (parts === null) return { result: "malformed" };
  const [, kid, bodyText, macText] = parts;
  // Buffer.from ignores stray low bits and a lone last character. Encoding again shows whether this is the only spelling.
  const body = Buffer.from(bodyText, "base64url");
  if (body.toString("base64url") !== bodyText) return { result: "malformed" };

  // Step 2. A revoked_at of 0 revokes too, so no test for truth here.
  const key = ring.get(kid);
  if (key === undefined) return { result: "unknown_key" };
  if (key.revokedAt !== null) return { result: "revoked_key" };
  if (key.verifyUntil !== null && second >= key.verifyUntil) return { result: "retired_key" };

  // Step 3. Both texts have 43 ASCII characters, so timingSafeEqual, which wants equal lengths, never throws.
  const signingBytes = Buffer.concat([Buffer.from(`ghasi-handoff/v1\nHMAC-SHA256\n${kid}\n`, "ascii"), body]);
  const expectedMac = createHmac("sha256", key.secret).update(signingBytes).digest("base64url");
  if (!timingSafeEqual(Buffer.from(macText, "ascii"), Buffer.from(expectedMac, "ascii"))) return { result: "invalid_mac" };

  // Step 4. Latin-1 maps each byte to one character, so no byte outside ASCII can turn into one that a pattern admits.
  const lines = [];
  let start = 0;
  while (lines.length < 6) {
    const end = body.indexOf(LF, start);
    if (end === -1) return { result: "malformed" };
    lines.push(body.toString("latin1", start, end));
    start = end + 1;
  }
  const [tokenIssuer, tokenAudience, tokenTenant, handoffId, issuedText, expiresText] = lines;
  if (![tokenIssuer, tokenAudience, tokenTenant].every((name) => NAME.test(name))) return { result: "malformed" };
  if (!HANDOFF_ID.test(handoffId)) return { result: "malformed" };
  if (!SECONDS.test(issuedText) || !SECONDS.test(expiresText)) return { result: "malformed" };
  const issuedAt = Number(issuedText);
  const expiresAt = Number(expiresText);
  if (issuedAt > LAST_SECOND || expiresAt > LAST_SECOND) return { result: "malformed" };
  const milliseconds = Number.parseInt(handoffId.slice(0, 8) + handoffId.slice(9, 13), 16); // 48 bits: exact
  if (Math.floor(milliseconds / 1000) !== issuedAt) return { result: "malformed" };

  // Step 5. The token's tenant is a name by now, so a tenant of the caller that is none (or no string) differs from it.
  if (tokenIssuer !== issuer) return { result: "wrong_issuer" };
  if (tokenAudience !== audience) return { result: "wrong_audience" };
  if (tokenTenant !== tenant) return { result: "wrong_tenant" };

  // Step 6.
  if (expiresAt <= issuedAt) return { result: "malformed" };
  if (expiresAt - issuedAt > maxLifetime) return { result: "lifetime_too_long" };
  if (issuedAt > second + leeway) return { result: "not_yet_valid" };
  if (second >= expiresAt + leeway) return { result: "expired" };

  // Step 7.
  let members;
  try {
    members = readCanonicalObject(body.subarray(start));
  } catch (error) {
    if (error instanceof NotCanonical) return { result: "invalid_payload" };
    throw error;
  }
  if (!followsBookingProfile(members)) return { result: "invalid_payload" };
  const payload = /** @type {BookingPayload} */ (Object.fromEntries(members)); // safe names only: the profile has checked them
  return { result: "accepted", signingString: signingBytes.toString("utf8"), handoffId, issuedAt, expiresAt, payload };
}

const AUTHORIZATION = /^GHASI-CONSUME kid=([A-Za-z0-9_-]{1,32}), mac=([A-Za-z0-9_-]{43})$/;
const REDEMPTION_ID = /^[0-9a-f]{64}$/;
// The one canonical spelling of the six members, so no JSON is parsed. The values' own grammars are checked afterwards.
const CALL_BODY = /^\{"audience":"([^"\\]*)","consumed_at":([0-9]+),"handoff_id":"([^"\\]*)","issuer":"([^"\\]*)","redemption_id":"([^"\\]*)","sent_at":([0-9]+)\}$/;
const CALL_ANSWERS = new Set(["200 null", "401 unauthenticated_call", "404 unknown_handoff", "409 replayed", "410 revoked_handoff", "410 expired"]);

/**
 * @typedef {{issuer: string, audience: string, expires_at: number, state: string, redemption_id: string | null, consumed_at: number | null}} Row
 * @typedef {{status: number, code: string | null, row: Row | null, signingString: string | null}} CallAnswer
 */

/**
 * What an issuer answers to a consume call: docs/spec/consume-v1.md.
 * @param {{keys: readonly Key[], now: number, path_id: string, authorization: string[], body: string, row: Row | null}} request
 * @returns {CallAnswer}
 */
export function answerCall({ keys, now, path_id: pathId, authorization, body, row }) {
  const unauthenticated = { status: 401, code: "unauthenticated_call", row, signingString: null };
  if (!Number.isFinite(now)) throw new ConfigurationError("now is not a finite number");
  const second = Math.floor(now);
  const ring = ringOf(keys);

  // Step 1. In JavaScript `$` without the flag m matches at the very end only.
  const header = authorization.length === 1 ? AUTHORIZATION.exec(authorization[0]) : null;
  const members = Buffer.byteLength(body) <= 1024 ? CALL_BODY.exec(body) : null;
  if (header === null || members === null) return unauthenticated;
  const [, kid, macText] = header;
  const [, audience, consumedText, handoffId, issuer, redemptionId, sentText] = members;
  if (!NAME.test(audience) || !NAME.test(issuer)) return unauthenticated;
  if (!HANDOFF_ID.test(handoffId) || !REDEMPTION_ID.test(redemptionId)) return unauthenticated;
  if (!SECONDS.test(consumedText) || !SECONDS.test(sentText)) return unauthenticated;
  const consumedAt = Number(consumedText);
  const sentAt = Number(sentText);
  if (consumedAt > LAST_SECOND || sentAt > LAST_SECOND) return unauthenticated;

  // Step 2.
  const key = ring.get(kid);
  if (key === undefined || key.revokedAt !== null) return unauthenticated;
  if (key.verifyUntil !== null && second >= key.verifyUntil) return unauthenticated;

  // Step 3. Both texts have 43 ASCII characters.
  const lines = ["ghasi-consume/v1", "HMAC-SHA256", kid, issuer, audience, handoffId, redemptionId, consumedText, sentText];
  const signingString = lines.join("\n");
  const expectedMac = createHmac("sha256", key.secret).update(signingString, "ascii").digest("base64url");
  if (!timingSafeEqual(Buffer.from(macText, "ascii"), Buffer.from(expectedMac, "ascii"))) return unauthenticated;

  // Step 4.
  if (sentAt < second - 60 || sentAt > second + 60) return unauthenticated;

  // Steps 5 to 9.
  const refused = (/** @type {number} */ status, /** @type {string} */ code) => ({ status, code, row, signingString });
  if (pathId !== handoffId) return refused(404, "unknown_handoff");
  if (row === null || row.issuer !== issuer || row.audience !== audience) return refused(404, "unknown_handoff");
  const confirmed = { status: 200, code: null, row, signingString };
  if (row.state === "consumed") return row.redemption_id === redemptionId ? confirmed : refused(409, "replayed");
  if (row.state === "revoked") return refused(410, "revoked_handoff");
  if (consumedAt >= row.expires_at + 60) return refused(410, "expired");
  return { ...confirmed, row: { ...row, state: "consumed", redemption_id: redemptionId, consumed_at: consumedAt } };
}

/**
 * A Map, because a kid may be "__proto__" or "constructor", which every plain object seems to have.
 * @param {readonly Key[]} keys
 * @returns {Map<string, Key>}
 */
function ringOf(keys) {
  if (!Array.isArray(keys)) throw new ConfigurationError("the keys are not a list");
  const ring = new Map();
  const secrets = new Set();
  for (const key of keys) {
    if (typeof key !== "object" || key === null) throw new ConfigurationError("a key is not an object");
    if (!isText(key.kid, KID)) throw new ConfigurationError("a kid breaks the grammar");
    // Not instanceof: a test runner's own realm has another Uint8Array.
    if (!types.isUint8Array(key.secret) || key.secret.length < 32) throw new ConfigurationError("a secret is not 32 bytes or more");
    // A missing date is refused: a misspelt member must not bring a revoked key back.
    for (const date of [key.verifyUntil, key.revokedAt]) {
      if (date !== null && !isInteger(date, 0, LAST_SECOND)) throw new ConfigurationError("a date of a key is not Unix seconds or null");
    }
    const secret = Buffer.from(key.secret).toString("hex");
    if (ring.has(key.kid)) throw new ConfigurationError("two keys share a kid");
    if (secrets.has(secret)) throw new ConfigurationError("two keys share a secret");
    ring.set(key.kid, key);
    secrets.add(secret);
  }
  return ring;
}

// A string of the payload, with only the escapes of the canonical form. The input was valid UTF-8, so it has no lone surrogate,
// and no escape for one is admitted. The sticky flag y makes a pattern match exactly where the reader stands.
const CANONICAL_STRING = /"(?:[^"\\\u0000-\u001f]|\\["\\btnfr]|\\u00(?:0[0-7bef]|1[0-9a-f]))*"/y;
// Matches no -0 and no leading zero. A fraction or an exponent is left over and then stands where only , ] or } may.
const CANONICAL_INTEGER = /0|-?[1-9][0-9]*/y;
const MEMBER_NAME = /"[a-z][a-z0-9_]*"/y;

/**
 * Reads the canonical JSON of v1.md, "Payload". JSON.parse alone would merge duplicates, round numbers and admit other spellings.
 * Objects become Maps, so that no member name can reach a prototype.
 * @param {Uint8Array} bytes
 * @returns {Map<string, unknown>}
 */
function readCanonicalObject(bytes) {
  if (bytes.length > 2048) throw new NotCanonical();
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); // ignoreBOM keeps the mark, so it is refused below
  } catch {
    throw new NotCanonical();
  }
  let at = 0;

  /** @param {string} literal */
  function skip(literal) {
    if (!text.startsWith(literal, at)) return false;
    at += literal.length;
    return true;
  }

  /** @param {RegExp} pattern  a sticky one */
  function take(pattern) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return null;
    at += match[0].length;
    return match[0];
  }

  /** @param {number} depth  the depth that this value has if it is an object or an array @returns {unknown} */
  function value(depth) {
    if (skip("{")) return object(depth);
    if (skip("[")) return array(depth);
    if (skip("true")) return true;
    if (skip("false")) return false;
    const string = take(CANONICAL_STRING);
    if (string !== null) return JSON.parse(string); // one string literal that the pattern has proved canonical
    const digits = take(CANONICAL_INTEGER);
    // Rounding is monotonic, so whatever lies beyond 2^53-1 becomes a number that is not a safe integer.
    if (digits === null || !Number.isSafeInteger(Number(digits))) throw new NotCanonical();
    return Number(digits);
  }

  /** @param {number} depth */
  function object(depth) {
    if (depth > 8) throw new NotCanonical(); // also what keeps hostile nesting from exhausting the stack
    const members = new Map();
    if (skip("}")) return members;
    let previous = "";
    do {
      const quoted = take(MEMBER_NAME);
      if (quoted === null) throw new NotCanonical();
      const name = quoted.slice(1, -1);
      if (name <= previous) throw new NotCanonical(); // strictly ascending: no duplicate; ASCII, so characters order as bytes do
      if (!skip(":")) throw new NotCanonical();
      members.set(name, value(depth + 1));
      previous = name;
    } while (skip(","));
    if (!skip("}")) throw new NotCanonical();
    return members;
  }

  /** @param {number} depth */
  function array(depth) {
    if (depth > 8) throw new NotCanonical();
    /** @type {unknown[]} */
    const items = [];
    if (skip("]")) return items;
    do {
      items.push(value(depth + 1));
    } while (skip(","));
    if (!skip("]")) throw new NotCanonical();
    return items;
  }

  if (!skip("{")) throw new NotCanonical(); // a byte order mark or white space ends here
  const payload = object(1);
  if (at !== text.length) throw new NotCanonical();
  return payload;
}

/** @type {ReadonlyMap<string, (value: unknown) => boolean>} */
const BOOKING_MEMBERS = new Map([
  ["adults", (value) => isInteger(value, 1, 30)],
  ["check_in", (value) => dayNumber(value) !== null],
  ["check_out", (value) => dayNumber(value) !== null],
  ["children_ages", isAges],
  ["currency", (value) => isText(value, /^[A-Z]{3}$/)],
  ["locale", (value) => isText(value, /^[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*$/) && value.length <= 35],
  ["property_id", (value) => isText(value, NAME)],
  ["quoted_total_minor", (value) => isInteger(value, 0, Number.MAX_SAFE_INTEGER)],
  ["rate_plan_id", (value) => isText(value, NAME)],
  ["room_type_id", (value) => isText(value, NAME)],
]);

/** The empty list is the default, and a default is never written. @param {unknown} value */
function isAges(value) {
  return Array.isArray(value) && value.length >= 1 && value.length <= 10 && value.every((age) => isInteger(age, 0, 17));
}

/** @param {ReadonlyMap<string, unknown>} members */
function followsBookingProfile(members) {
  for (const [name, value] of members) {
    const follows = BOOKING_MEMBERS.get(name);
    if (follows === undefined || !follows(value)) return false;
  }
  if (!["adults", "check_in", "check_out", "property_id"].every((name) => members.has(name))) return false;
  if (members.has("currency") !== members.has("quoted_total_minor")) return false;
  const checkIn = dayNumber(members.get("check_in"));
  const checkOut = dayNumber(members.get("check_out"));
  return checkIn !== null && checkOut !== null && checkOut > checkIn && checkOut - checkIn <= 366;
}

/**
 * The days from 0000-12-31 to this date, or null if it is none. By hand: Date rolls 02-30 over and reads years below 100 as 19xx.
 * @param {unknown} value
 * @returns {number | null}
 */
function dayNumber(value) {
  if (!isText(value, /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/)) return null;
  const [year, month, day] = value.split("-").map(Number);
  const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const monthLengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > monthLengths[month - 1]) return null;
  const years = year - 1;
  const leapDays = Math.floor(years / 4) - Math.floor(years / 100) + Math.floor(years / 400);
  const daysOfMonths = monthLengths.slice(0, month - 1).reduce((sum, length) => sum + length, 0);
  return years * 365 + leapDays + daysOfMonths + day;
}

/**
 * RegExp.test turns its argument into a string, so the list ["EUR"] would pass for "EUR". Hence the type is checked first.
 * @param {unknown} value
 * @param {RegExp} pattern
 * @returns {value is string}
 */
function isText(value, pattern) {
  return typeof value === "string" && pattern.test(value);
}

/**
 * @param {unknown} value
 * @param {number} least
 * @param {number} most
 * @returns {value is number}
 */
function isInteger(value, least, most) {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most;
}

// ---- The program: judges vector files. Its reasons are fixed texts, because anything quoted from a file could be a secret. ----

const VECTOR_MEMBERS = ["description", "keys", "issuer", "audience", "leeway", "max_lifetime", "tenant", "now", "token", "expect"];
const ACCEPTED_MEMBERS = ["signing_string", "handoff_id", "issued_at", "expires_at", "payload"];
const KEY_MEMBERS = ["kid", "secret_hex", "sign_from", "verify_until", "revoked_at"];

/** The vector file is not well-formed. */
class BadVector extends Error {}

/** @param {boolean} condition @param {string} reason @returns {asserts condition} */
function demand(condition, reason) {
  if (!condition) throw new BadVector(reason);
}

/** @param {any} value @param {string[]} names @param {string} what */
function demandMembers(value, names, what) {
  demand(typeof value === "object" && value !== null && !Array.isArray(value), `${what} is not an object`);
  for (const name of names) demand(Object.hasOwn(value, name), `${what} has no ${name}`);
  demand(Object.keys(value).length === names.length, `${what} has a member that does not belong there`);
}

/** @param {string} path @returns {any} */
function readJson(path) {
  let bytes;
  try {
    bytes = readFileSync(path);
  } catch {
    throw new BadVector("cannot be read");
  }
  let text = "";
  let vector;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    vector = JSON.parse(text);
  } catch {
    throw new BadVector("is not JSON in UTF-8"); // the error's own message quotes the text, perhaps a secret
  }
  // JSON.parse keeps the last of two members of one name. The text is valid JSON by now, so its strings and brackets suffice.
  /** @type {Set<string>[]} */
  const open = [];
  let string = "";
  for (const [part] of text.matchAll(/"(?:[^"\\]+|\\.)*"|[{}[\]:]/g)) {
    if (part === "{" || part === "[") open.push(new Set());
    else if (part === "}" || part === "]") open.pop();
    else if (part !== ":") string = JSON.parse(part);
    else {
      const names = open[open.length - 1];
      demand(!names.has(string), "has a member twice");
      names.add(string);
    }
  }
  return vector;
}

/** @param {any} key @returns {Key} */
function readKey(key) {
  demandMembers(key, KEY_MEMBERS, "a key");
  // Buffer.from stops silently at the first character that is not hexadecimal, so the text is checked first.
  demand(isText(key.secret_hex, /^(?:[0-9a-fA-F]{2})+$/), "a secret_hex is not hexadecimal");
  demand(isInteger(key.sign_from, 0, LAST_SECOND), "a sign_from is not Unix seconds");
  return { kid: key.kid, secret: Buffer.from(key.secret_hex, "hex"), verifyUntil: key.verify_until, revokedAt: key.revoked_at };
}

const CALL_MEMBERS = ["description", "keys", "now", "path_id", "authorization", "body", "row", "expect", "row_after"];
const ROW_MEMBERS = ["issuer", "audience", "expires_at", "state", "redemption_id", "consumed_at"];

/** @param {any} row @returns {Row | null} */
function readRow(row) {
  if (row === null) return null;
  demandMembers(row, ROW_MEMBERS, "a row");
  demand(isText(row.issuer, NAME) && isText(row.audience, NAME), "a row's issuer or audience is no name");
  demand(isInteger(row.expires_at, 0, LAST_SECOND), "a row's expires_at is not Unix seconds");
  demand(["issued", "consumed", "revoked"].includes(row.state), "a row has no known state");
  const consumed = row.state === "consumed";
  demand(consumed ? isText(row.redemption_id, REDEMPTION_ID) : row.redemption_id === null, "a row's redemption_id does not fit its state");
  demand(consumed ? isInteger(row.consumed_at, 0, LAST_SECOND) : row.consumed_at === null, "a row's consumed_at does not fit its state");
  return row;
}

/** A vector of a consume call. Returns what is wrong, or "". @param {any} vector */
function judgeCall(vector) {
  demand(typeof vector.expect === "object" && vector.expect !== null, "expect is not an object");
  demandMembers(vector.expect, ["status", "code"], "expect");
  const { status, code } = vector.expect;
  demand(CALL_ANSWERS.has(`${status} ${code}`), "expect is no known answer");
  demandMembers(vector, status === 401 ? CALL_MEMBERS : [...CALL_MEMBERS, "signing_string"], "the vector");
  demand(typeof vector.description === "string" && vector.description !== "", "the description is not a text");
  demand(Array.isArray(vector.keys), "keys is not a list");
  demand(Array.isArray(vector.authorization) && vector.authorization.every((value) => typeof value === "string"), "authorization is not a list of texts");
  demand(typeof vector.path_id === "string" && typeof vector.body === "string", "path_id or body is not a text");
  demand(status === 401 || typeof vector.signing_string === "string", "signing_string is not a text");
  const got = answerCall({ ...vector, keys: vector.keys.map(readKey), row: readRow(vector.row) });
  readRow(vector.row_after);
  if (got.status !== status || got.code !== code) return `expected ${status} ${code}, got ${got.status} ${got.code}`;
  if (!isDeepStrictEqual(got.row, vector.row_after)) return "answered as expected, but another row_after";
  return got.signingString === (vector.signing_string ?? null) ? "" : "answered as expected, but another signing string";
}

/** Returns what is wrong, or "" if the verdict is the expected one. @param {string} path */
function judgeFile(path) {
  const vector = readJson(path);
  if (typeof vector === "object" && vector !== null && Object.hasOwn(vector, "authorization")) return judgeCall(vector);
  const accepted = vector?.expect === "accepted";
  demandMembers(vector, accepted ? [...VECTOR_MEMBERS, ...ACCEPTED_MEMBERS] : VECTOR_MEMBERS, "the vector");
  demand(accepted || (typeof vector.expect === "string" && REFUSAL_CODES.has(vector.expect)), "expect is no code");
  demand(typeof vector.description === "string" && vector.description !== "", "the description is not a text");
  demand(typeof vector.tenant === "string", "the tenant is not a string");
  demand(Array.isArray(vector.keys), "keys is not a list");
  if (accepted) {
    demand(typeof vector.signing_string === "string", "signing_string is not a string");
    demand(typeof vector.handoff_id === "string", "handoff_id is not a string");
    demand(isInteger(vector.issued_at, 0, LAST_SECOND), "issued_at is not Unix seconds");
    demand(isInteger(vector.expires_at, 0, LAST_SECOND), "expires_at is not Unix seconds");
    demand(typeof vector.payload === "object" && vector.payload !== null && !Array.isArray(vector.payload), "payload is not an object");
  }

  const { issuer, audience, leeway, max_lifetime: maxLifetime, tenant, now, token } = vector;
  const keys = vector.keys.map(readKey);
  const verdict = verifyHandoff({ keys, issuer, audience, leeway, maxLifetime, tenant, now, token });
  if (verdict.result !== vector.expect) return `expected ${vector.expect}, got ${verdict.result}`;
  if (verdict.result !== "accepted") return "";
  const differences = [];
  if (verdict.signingString !== vector.signing_string) differences.push("signing string");
  if (verdict.handoffId !== vector.handoff_id) differences.push("handoff_id");
  if (verdict.issuedAt !== vector.issued_at) differences.push("issued_at");
  if (verdict.expiresAt !== vector.expires_at) differences.push("expires_at");
  if (!isDeepStrictEqual(verdict.payload, vector.payload)) differences.push("payload");
  return differences.length === 0 ? "" : `accepted, but different: ${differences.join(", ")}`;
}

/** @param {string[]} paths @returns {number} the exit code */
function main(paths) {
  if (paths.length === 0) {
    console.error("usage: node verify.mjs vector.json...");
    return 2;
  }
  let failures = 0;
  for (const path of paths) {
    let reason = "";
    try {
      reason = judgeFile(path);
    } catch (error) {
      const known = error instanceof BadVector || error instanceof ConfigurationError;
      reason = `not well-formed: ${known ? error.message : "unexpected error"}`; // an unknown message might quote the file
    }
    const name = basename(path).replace(/[\u0000-\u001f\u007f-\u009f]/g, "?"); // a file's name must not start a line of its own
    if (reason !== "") failures += 1;
    console.log(reason === "" ? `ok   ${name}` : `FAIL ${name}: ${reason}`);
  }
  console.log(`${paths.length - failures} of ${paths.length} vectors agree`);
  return failures === 0 ? 0 : 1;
}

/** Whether this file was started as the program, perhaps through a symbolic link, and not imported. */
function isProgram() {
  try {
    return realpathSync(process.argv[1]) === realpathSync(fileURLToPath(import.meta.url));
  } catch {
    return false; // no such path: started with -e, or from standard input
  }
}

if (isProgram()) process.exitCode = main(process.argv.slice(2));
