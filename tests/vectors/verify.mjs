// A second verifier of Kagikura's trail, written from docs/trail-format.md alone.
//   node verify.mjs PUBLIC_KEY_FILE KEYS CHECKPOINTS STREAM.jsonl...
// Says "good" and exits 0, or names the first fault and exits 1.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const fail = (text) => {
  console.log(text);
  process.exit(1);
};
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function makeKey(name, raw) {
  const id = sha256(name, "\n", Buffer.from([1]), raw).subarray(0, 4);
  const der = Buffer.concat([SPKI, raw]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  return { name, id, key, raw };
}

function readNotes(path) {
  const parts = readFileSync(path, "utf8").split("\n\n");
  const notes = [];
  for (let at = 0; at + 2 < parts.length; at += 2)
    notes.push({ text: parts[at] + "\n", signatures: parts[at + 1].split("\n") });
  return notes;
}

const digest = (note) => sha256(note.text).toString("hex");

function isSignedBy(note, key) {
  return note.signatures.some((line) => {
    const [, name, encoded] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? [];
    if (name !== key.name) return false;
    const octets = Buffer.from(encoded, "base64");
    return (
      octets.subarray(0, 4).equals(key.id) &&
      verify(null, Buffer.from(note.text), key.key, octets.subarray(4))
    );
  });
}

const field = (text, name) => new RegExp(`^${name} (.*)$`, "m").exec(text)?.[1];

const [keyFile, keysFile, checkpointsFile, ...streamFiles] = process.argv.slice(2);
const [name, , encoded] = readFileSync(keyFile, "utf8").trim().split("+");
const root = makeKey(name, Buffer.from(encoded, "base64").subarray(1));

// Keys: the root signs itself and key 1, each key the next.
const keys = [];
for (const note of readNotes(keysFile)) {
  const number = Number(field(note.text, "number"));
  const raw = Buffer.from(field(note.text, "key"), "base64");
  const [after, afterHash] = field(note.text, "after").split(" ");
  if (!note.text.startsWith(`${name}/key\n`)) fail(`key ${number} is another's`);
  if (number !== keys.length) fail(`key ${keys.length} is missing`);
  if (number === 0 && !raw.equals(root.raw)) fail("the root key was replaced");
  const signer = number === 0 ? root : keys[number - 1];
  if (!isSignedBy(note, signer)) fail(`key ${number} is not signed as it must be`);
  keys.push({ ...makeKey(name, raw), after: Number(after), afterHash });
}

// Checkpoints: signed by the key that their number belongs to, each naming the last.
const anchors = new Map();
let before;
for (const note of readNotes(checkpointsFile)) {
  const number = Number(field(note.text, "number"));
  const where = `checkpoint ${number}`;
  const [origin, size, rootHash] = note.text.split("\n");
  const signer = keys.findLast((key, at) => at === 0 || key.after < number);
  if (origin !== name) fail(`${where} is another's`);
  if (!isSignedBy(note, signer)) fail(`${where} is not signed by its key`);
  if (before && field(note.text, "prev") !== before)
    fail(`${where} does not follow the one before`);
  const heads = note.text.match(/^head .*\n/gm) ?? [];
  const made = sha256(Buffer.from([2]), heads.join("")).toString("base64");
  let sum = 0;
  for (const head of heads) {
    const [, stream, seq, hash] = head.trim().split(" ");
    sum += Number(seq);
    anchors.set(`${stream}:${seq}`, { hash, where });
  }
  if (made !== rootHash || sum !== Number(size)) fail(`${where} does not fit its heads`);
  before = digest(note);
  for (const key of keys)
    if (key.after === number && key.afterHash !== before)
      fail(`${where} is not the one that a key was made behind`);
}

// Streams: every hash and link, every head that a checkpoint names.
for (const path of streamFiles) {
  let prev = "0".repeat(64);
  let seq = 0;
  let stream;
  for (const line of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
    seq += 1;
    const cut = line.length - ',"hash":"'.length - 64 - '"}'.length;
    const hashed = line.slice(0, cut) + "}";
    const hash = sha256(Buffer.from([1]), Buffer.from(prev, "hex"), hashed);
    const record = JSON.parse(line);
    stream ??= record.id.slice(0, record.id.lastIndexOf(":"));
    const where = `${stream}:${seq}`;
    if (record.id !== where) fail(`${record.id} stands where ${where} belongs`);
    if (record.prev !== prev) fail(`${where} does not follow the record before it`);
    if (record.hash !== hash.toString("hex")) fail(`${where} was changed`);
    const anchor = anchors.get(where);
    if (anchor && anchor.hash !== record.hash)
      fail(`${where} is not the record that ${anchor.where} names`);
    anchors.delete(where);
    prev = record.hash;
  }
}
const [missing] = anchors.keys();
if (missing) fail(`${missing}, which ${anchors.get(missing).where} names, is missing`);
console.log("good");
