// Runs the scenarios with node-redis. The argument is where the servers are, as JSON; see ../README.md.

import { createRequire } from "node:module";
import { createClient, createCluster, ErrorReply, MultiErrorReply, RESP_TYPES, WatchError } from "redis";
import {
  address, anyBytes, awaitTrue, blocked, check, equal, move, patience, place, refused, run, sums, upTo, version, whileMoving,
} from "./scenarios.mjs";

const library = createRequire(import.meta.resolve("redis"))("../package.json").version;

/** Runs a body with a client, which is closed after it. */
async function using(client, body) {
  // An error of a connection that no command reports would be lost.
  let lost;
  client.on("error", (e) => (lost = e));
  try {
    await client.connect();
    await body(client);
  } finally {
    client.destroy();
  }
  if (lost) throw lost;
}

const options = (addr) => ({ socket: { ...address(addr), reconnectStrategy: false } });
const single = (body, more = {}) => () => using(createClient({ ...options(place.single), ...more }), body);
const cluster = (body) => () => using(createCluster({ rootNodes: [options(place.nodes[1])] }), body);

/** Replies of which strings are buffers. */
const inBytes = (client) => client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

/** Starts a blocking read, and returns when the server at addr has blocked it, with a function that awaits its result. */
async function blpop(r, addr, key) {
  const result = r.blPop(key, patience / 1000);
  result.catch(() => {}); // it is reported when it is awaited
  await using(createClient(options(addr)), (look) =>
    awaitTrue("BLPOP blocks", async () => blocked(await look.sendCommand(["CLIENT", "LIST"]))));
  return () => result;
}

version(library);

await run("connect", single(async (r) => {
  equal(await r.ping(), "PONG");
  equal(await r.clientGetName(), "of-node-redis");
  const info = await r.sendCommand(["CLIENT", "INFO"]);
  check(info, info.includes(" resp=2 ") && info.includes(" lib-name=node-redis "));
  await r.select(0);
  await refused(ErrorReply, "ERR DB index is out of range", () => r.select(1));
}, { name: "of-node-redis", RESP: 2 }));

await run("resp3", single(async (r) => {
  const info = await r.sendCommand(["CLIENT", "INFO"]);
  check(info, info.includes(" resp=3 "));
  equal(await r.hSet("nr:resp3:h", { a: 1, b: 2 }), 2);
  equal(await r.sendCommand(["HGETALL", "nr:resp3:h"]), { a: "1", b: "2" });
  equal(await r.zAdd("nr:resp3:z", { score: 1.5, value: "m" }), 1);
  equal(await r.sendCommand(["ZSCORE", "nr:resp3:z", "m"]), 1.5);
  equal(await r.get("nr:resp3:none"), null);
}, { RESP: 3 }));

await run("auth", async () => {
  const ping = async (password) => {
    const r = createClient({ ...options(place.secured), password });
    r.on("error", () => {}); // connect and ping report it
    try {
      await r.connect();
      return await r.ping();
    } finally {
      r.destroy();
    }
  };
  equal(await ping(place.password), "PONG");
  await refused(ErrorReply, "WRONGPASS", () => ping("another"));
  await refused(ErrorReply, "NOAUTH", () => ping(undefined));
});

await run("strings", single(async (r) => {
  equal(await r.set("nr:s", "hello"), "OK");
  equal(await r.get("nr:s"), "hello");
  equal(await r.append("nr:s", " world"), 11);
  equal(await r.getRange("nr:s", 6, -1), "world");
  equal(await r.set("nr:s", "no", { condition: "NX" }), null);
  equal(await r.incrBy("nr:n", 42), 42);
  equal(await r.incrByFloat("nr:n", 0.5), "42.5");
  equal(await r.mSet({ "nr:m1": "1", "nr:m2": "2" }), "OK");
  equal(await r.mGet(["nr:m1", "nr:none", "nr:m2"]), ["1", null, "2"]);
  equal(await r.del(["nr:m1", "nr:m2", "nr:none"]), 2);
  equal(await r.get("nr:m1"), null);
}));

await run("bitmaps", single(async (r) => {
  equal(await r.setBit("nr:bits", 7, 1), 0);
  equal(await r.setBit("nr:bits", 100, 1), 0);
  equal(await r.getBit("nr:bits", 100), 1);
  equal(await r.bitCount("nr:bits"), 2);
  equal(await r.bitPos("nr:bits", 1), 7);
  equal(await r.bitOp("NOT", "nr:bits:not", "nr:bits"), 13);
  const field = [{ operation: "SET", encoding: "u8", offset: 8, value: 200 }, { operation: "GET", encoding: "u8", offset: "#1" }];
  equal(await r.bitField("nr:field", field), [0, 200]);
}));

await run("hashes", single(async (r) => {
  equal(await r.hSet("nr:h", { a: 1, b: 2, c: 3 }), 3);
  equal(await r.hGetAll("nr:h"), { a: "1", b: "2", c: "3" });
  equal(await r.hmGet("nr:h", ["a", "none"]), ["1", null]);
  equal(await r.hIncrBy("nr:h", "a", 10), 11);
  equal(await r.hDel("nr:h", ["b", "none"]), 1);
  equal(await r.hLen("nr:h"), 2);
  equal(await r.hExists("nr:h", "c"), 1);
}));

await run("lists", single(async (r) => {
  equal(await r.rPush("nr:l", ["b", "c", "d"]), 3);
  equal(await r.lPush("nr:l", "a"), 4);
  equal(await r.lInsert("nr:l", "AFTER", "b", "x"), 5);
  equal(await r.lRange("nr:l", 0, -1), ["a", "b", "x", "c", "d"]);
  equal(await r.lPos("nr:l", "x"), 2);
  equal(await r.lMove("nr:l", "nr:l2", "RIGHT", "LEFT"), "d");
  equal(await r.lPopCount("nr:l", 2), ["a", "b"]);
  equal(await r.lLen("nr:l"), 2);
}));

await run("sets", single(async (r) => {
  equal(await r.sAdd("nr:set", ["a", "b", "c"]), 3);
  equal(await r.sAdd("nr:set2", "b"), 1);
  equal(await r.sIsMember("nr:set", "a"), 1);
  equal(await r.smIsMember("nr:set", ["a", "z"]), [1, 0]);
  equal((await r.sDiff(["nr:set", "nr:set2"])).sort(), ["a", "c"]);
  equal(await r.sInterCard(["nr:set", "nr:set2"]), 1);
  equal(await r.sRem("nr:set", "a"), 1);
  equal(await r.sCard("nr:set"), 2);
}));

await run("sortedsets", single(async (r) => {
  const members = [{ score: 1, value: "a" }, { score: 2.5, value: "b" }, { score: 3, value: "c" }];
  equal(await r.zAdd("nr:z", members), 3);
  equal(await r.zRangeWithScores("nr:z", 0, 1), [{ value: "a", score: 1 }, { value: "b", score: 2.5 }]);
  equal(await r.zRange("nr:z", "+inf", "(1", { BY: "SCORE", REV: true }), ["c", "b"]);
  equal(await r.zIncrBy("nr:z", 2.5, "a"), 3.5);
  equal(await r.zRank("nr:z", "a"), 2);
  equal(await r.zPopMin("nr:z"), { value: "b", score: 2.5 });
  equal(await r.zCard("nr:z"), 2);
}));

await run("expiry", single(async (r) => {
  equal(await r.set("nr:e", "v", { expiration: { type: "EX", value: 100 } }), "OK");
  const left = await r.ttl("nr:e");
  check(`TTL: ${left}`, left >= 90 && left <= 100);
  equal(await r.persist("nr:e"), 1);
  equal(await r.ttl("nr:e"), -1);
  equal(await r.pExpire("nr:e", 30), 1);
  await awaitTrue("expiry", async () => (await r.exists("nr:e")) === 0);
  equal(await r.ttl("nr:e"), -2);
  equal(await r.set("nr:e", "v"), "OK");
  equal(await r.expireAt("nr:e", Math.floor(Date.now() / 1000) - 3600), 1);
  equal(await r.exists("nr:e"), 0);
}));

await run("pipeline", single(async (r) => {
  const p = r.multi();
  for (const i of upTo(10_000)) p.incrBy(`nr:p:${i % 100}`, i);
  equal(await p.execAsPipeline(), sums(10_000, 100));
}));

await run("transaction", single(async (r) => {
  equal(await r.multi().set("nr:tx", "v").incr("nr:txn").get("nr:tx").exec(), ["OK", 1, "v"]);
  let failure;
  await r.multi().incr("nr:tx").incr("nr:txn").exec().catch((e) => (failure = e));
  check(`the error inside: ${failure}`, failure instanceof MultiErrorReply && failure.replies[0].message.startsWith("ERR value is not an integer"));
  equal(failure.replies[1], 2);
  equal(await r.get("nr:txn"), "2");
}));

await run("watch", single(async (r) => {
  const double = async (meanwhile) => {
    await r.watch("nr:w");
    const n = Number(await r.get("nr:w"));
    await meanwhile();
    return r.multi().set("nr:w", String(2 * n)).exec();
  };
  equal(await r.set("nr:w", "1"), "OK");
  const conflict = single(async (other) => equal(await other.set("nr:w", "5"), "OK"));
  await refused(WatchError, "", () => double(conflict));
  equal(await r.get("nr:w"), "5");
  equal(await double(() => {}), ["OK"]);
  equal(await r.get("nr:w"), "10");
}));

await run("blockingwoken", single(async (r) => {
  const result = await blpop(r, place.single, "nr:b");
  await single(async (other) => equal(await other.rPush("nr:b", ["first", "second"]), 2))();
  equal(await result(), { key: "nr:b", element: "first" });
  equal(await r.lRange("nr:b", 0, -1), ["second"]);
}));

await run("blockingtimeout", single(async (r) => {
  const began = performance.now();
  equal(await r.blPop("nr:none", 0.2), null);
  const took = performance.now() - began;
  check(`it took ${took} ms`, took >= 199 && took < patience); // the clocks of two processes
}));

await run("scan", single(async (r) => {
  const n = 1000;
  const p = r.multi();
  for (const i of upTo(n).map(String)) {
    p.set(`nr:scan:${i}`, i).hSet("nr:scanned:h", i, i).sAdd("nr:scanned:s", i).zAdd("nr:scanned:z", { score: Number(i), value: i });
  }
  await p.execAsPipeline();
  const all = async (batches, name = (item) => item) => {
    const seen = new Set();
    for await (const items of batches) items.forEach((item) => seen.add(name(item)));
    return seen;
  };
  const numbers = new Set(upTo(n).map(String));
  equal(await all(r.scanIterator({ MATCH: "nr:scan:*", COUNT: 100 })), new Set(upTo(n).map((i) => `nr:scan:${i}`)));
  equal(await all(r.hScanIterator("nr:scanned:h", { COUNT: 100 }), (f) => f.field), numbers);
  equal(await all(r.sScanIterator("nr:scanned:s", { COUNT: 100 })), numbers);
  equal(await all(r.zScanIterator("nr:scanned:z", { COUNT: 100 }), (m) => m.value), numbers);
}));

await run("binary", single(async (r) => {
  const b = inBytes(r);
  const key = Buffer.concat([Buffer.from("nr:"), anyBytes]);
  equal(await b.set(key, anyBytes), "OK");
  equal(await b.get(key), anyBytes);
  equal(await b.hSet("nr:binary:h", anyBytes, anyBytes), 1);
  equal(await b.hKeys("nr:binary:h"), [anyBytes]);
  equal(await b.hGet("nr:binary:h", anyBytes), anyBytes);
  equal(await b.sAdd("nr:binary:s", anyBytes), 1);
  equal(await b.sMembers("nr:binary:s"), [anyBytes]);
}));

await run("large", single(async (r) => {
  const b = Buffer.alloc(8 << 20, anyBytes);
  equal(await r.set("nr:large", b), "OK");
  check("other bytes came back", b.equals(await inBytes(r).get("nr:large")));
  equal(await r.unlink("nr:large"), 1);
}));

await run("errors", single(async (r) => {
  equal(await r.rPush("nr:wrong", "a"), 1);
  await refused(ErrorReply, "WRONGTYPE ", () => r.get("nr:wrong"));
  await refused(ErrorReply, "ERR unknown command ", () => r.sendCommand(["NOSUCHCOMMAND"]));
  equal(await r.set("nr:wrong", "a"), "OK");
  await refused(ErrorReply, "ERR value is not an integer", () => r.incr("nr:wrong"));
  equal(await r.ping(), "PONG");
}));

await run("discover", cluster(async (c) => {
  equal(c.masters.map((n) => n.address).sort(), [...place.nodes].sort());
  equal(c.slots.filter((s) => s.master).length, 16384);
  const node = await c.nodeClient(c.masters[0]);
  const info = await node.clusterInfo();
  check(info, info.includes("cluster_state:ok"));
  equal((await node.sendCommand(["CLUSTER", "SHARDS"])).length, 3);
}));

await run("spread", cluster(async (c) => {
  for (const i of upTo(300)) equal(await c.set(`nr:spread:${i}`, String(i)), "OK");
  for (const i of upTo(300)) equal(await c.get(`nr:spread:${i}`), String(i));
  for (const node of c.masters) {
    const n = (await (await c.nodeClient(node)).keys("nr:spread:*")).length;
    check(`${n} keys at ${node.address}`, n >= 60 && n <= 140);
  }
}));

await run("hashtags", cluster(async (c) => {
  for (const tag of place.still) {
    const k = (name) => `nr:${tag}${name}`;
    equal(await c.mSet({ [k("a")]: "1", [k("b")]: "2" }), "OK");
    equal(await c.mGet([k("a"), k("b"), k("none")]), ["1", "2", null]);
    equal(await c.sAdd(k("s"), ["x", "y"]), 2);
    equal(await c.sUnionStore(k("t"), [k("s"), k("none")]), 2);
    equal(await c.rename(k("a"), k("c")), "OK");
    equal(await c.del([k("b"), k("c")]), 2);
  }
}));

await run("crossslot", cluster(async (c) => {
  const [a, b] = place.still;
  await refused(ErrorReply, "CROSSSLOT ", () => c.sUnionStore(`nr:${a}`, `nr:${b}`));
  await refused(ErrorReply, "CROSSSLOT ", () => c.rename(`nr:${a}`, `nr:${b}`));
}));

await run("clusterpipeline", cluster(async (c) => {
  equal(await Promise.all(upTo(3000).map((i) => c.incrBy(`nr:p:${i % 1000}`, i))), sums(3000, 1000));
}));

await run("clustertransaction", cluster(async (c) => {
  for (const tag of place.still) equal(await c.multi().incr(`nr:tx:a:${tag}`).incrBy(`nr:tx:b:${tag}`, 2).exec(), [1, 2]);
}));

await run("moves", cluster(async (c) => {
  await whileMoving(async (tag, done) => {
    equal(await c.incr(`nr:moves:${tag}`), done + 1);
    equal(await c.get(`nr:moves:${tag}`), String(done + 1));
  }, (tag) => c.get(`nr:moves:${tag}`));
}));

await run("movespipeline", cluster(async (c) => {
  await whileMoving(async (tag, done) => {
    const keys = [`nr:movesp:${tag}`];
    for (const still of place.still) keys.push(`nr:movesp:${tag}${still}`, `nr:movesp:${still}${tag}`);
    equal(await Promise.all(keys.map((key) => c.incr(key))), Array(keys.length).fill(done + 1));
  }, (tag) => c.get(`nr:movesp:${tag}`));
}));

await run("movestransaction", cluster(async (c) => {
  await whileMoving(async (tag, done) => {
    equal(await c.multi().incr(`nr:movest:${tag}`).rPush(`nr:movest:list:${tag}`, String(done)).exec(), [done + 1, done + 1]);
  }, (tag) => c.get(`nr:movest:${tag}`));
}));

await run("movesblocking", cluster(async (c) => {
  for (const i of upTo(3)) {
    const key = `nr:movesb:${place.tags[i]}`;
    const result = await blpop(c, place.nodes[i], key);
    await move(i, (i + 1) % 3, i === 2);
    await cluster(async (other) => equal(await other.rPush(key, "served"), 1))();
    equal(await result(), { key, element: "served" });
  }
}));
