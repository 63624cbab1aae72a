// What the programs of the Node.js clients share: where the servers are, checks, and the answers that they print.
// See ../README.md.

import { execFile } from "node:child_process";
import { isDeepStrictEqual, promisify } from "node:util";

/** Where the servers are, as the driver says it. */
export const place = JSON.parse(process.argv[2]);

/** Milliseconds for whatever is waited for; nothing takes so long. */
export const patience = 60_000;

/** Every byte, and what would end a line or begin a reply. */
export const anyBytes = Buffer.concat([
  Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  Buffer.from("\r\n$-1\r\n\xff\xfe\x00", "latin1"),
]);

/** Numbers from 0 to n-1. */
export const upTo = (n) => Array.from({ length: n }, (_, i) => i);

export function address(addr) {
  const colon = addr.lastIndexOf(":");
  return { host: addr.slice(0, colon), port: Number(addr.slice(colon + 1)) };
}

/** Moves the slots from one node of the cluster to another, both by index. */
export async function move(from, to, newMap) {
  const args = ["migrate", "start", "--wait", "--slots", place.slots];
  args.push("--node", place.nodes[from], "--to", place.nodes[to]);
  if (newMap) args.push("--update-map");
  await promisify(execFile)(place.godwit, args);
}

const show = (value) => (value instanceof Error ? `${value.name}: ${value.message}` : JSON.stringify(value));

// Clients make objects without a prototype, which are equal to ordinary ones here.
const plain = (value) => {
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object" && Object.getPrototypeOf(value) === null) return { ...value };
  return value;
};

export function equal(got, want) {
  if (!isDeepStrictEqual(plain(got), plain(want))) throw new Error(`got ${show(got)}, want ${show(want)}`);
}

export function check(what, holds) {
  if (!holds) throw new Error(what);
}

/** Checks that the server refuses a call by an error of this class whose text begins with these words. */
export async function refused(kind, text, call) {
  let got;
  try {
    got = await call();
  } catch (e) {
    if (e instanceof kind && e.message.startsWith(text)) return;
    throw new Error(`got ${show(e)}, want a ${kind.name} with ${text}`);
  }
  throw new Error(`got ${show(got)}, want a ${kind.name} with ${text}`);
}

export async function awaitTrue(what, condition) {
  for (const began = Date.now(); !(await condition()); ) {
    check(`waited in vain: ${what}`, Date.now() - began < patience);
  }
}

/** Says whether one of the lines of CLIENT LIST is of a connection that BLPOP blocks. */
export const blocked = (list) => list.split("\n").some((l) => l.includes(" flags=b ") && l.includes(" cmd=blpop "));

/** The replies of n increments, by 0, 1, 2 and so on, of so many keys in turn. */
export function sums(n, keys) {
  const sum = Array(keys).fill(0);
  return upTo(n).map((i) => (sum[i % keys] += i));
}

/**
 * Runs a worker for each tag until the slots have been to all nodes, with and without a new map, and are back. Each does its
 * step again and again, which is given how often it has been done and is the only one to touch its keys. get(tag) must then
 * be the number of steps of the worker that has the tag.
 */
export async function whileMoving(step, get) {
  let over = false;
  const counts = place.tags.map(() => 0);
  const begin = [];
  const begun = place.tags.map((_, i) => new Promise((resolve) => (begin[i] = resolve)));
  const work = async (tag, i) => {
    try {
      while (!over) {
        await step(tag, counts[i]);
        counts[i]++;
        begin[i]();
      }
    } catch (e) {
      begin[i]();
      throw new Error(`${tag}, after ${counts[i]} times: ${show(e)}`);
    }
  };
  const workers = Promise.allSettled(place.tags.map(work));
  await Promise.all(begun);
  try {
    for (const i of upTo(3)) await move(i, (i + 1) % 3, i === 1);
  } finally {
    over = true;
  }
  for (const w of await workers) if (w.status === "rejected") throw w.reason;
  for (const [i, tag] of place.tags.entries()) equal(Number(await get(tag)), counts[i]);
}

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

export const version = (text) => print({ version: text });

export const absent = (scenario, why) => print({ scenario, absent: why });

/** Runs a scenario and prints what became of it. The others are run in any case. */
export async function run(scenario, body, note = "") {
  try {
    await body();
  } catch (e) {
    print({ scenario, error: e.stack ?? String(e) });
    return;
  }
  print({ scenario, ok: true, note });
}
