// Runs the scenarios with ioredis. The argument is where the servers are, as JSON; see ../README.md.

import { createRequire } from "node:module";
import { Cluster, Redis, ReplyError } from "ioredis";
import {
  address, anyBytes, awaitTrue, blocked, check, equal, move, patience, place, refused, run, sums, upTo, version, whileMoving,
} from "./scenarios.mjs";

const require = createRequire(import.meta.url);
const library = require("ioredis/package.json").version;

/** Runs a body with a client, which is closed after it. */
async function using(client, body) {
  // An error of a connection that no command reports would be lost.
  let lost;
  client.on("error", (e) => (lost = e));
  try {
    await body(client);
  } finally {
    client.disconnect();
  }
  if (lost) throw lost;
}

const single = (body, options = {}) => () => using(new Redis({ ...address(place.single), ...options }), body);
const cluster = (body, options = {}) => () => using(new Cluster([address(place.nodes[1])], options), body);

/** The replies of a pipeline or a transaction, which are pairs of an error and a reply. */
const replies = (pairs) =>
  pairs.map(([e, reply]) => {
    if (e) throw e;
    return reply;
  });

/** Starts a blocking read, and returns when the server at addr has blocked it, with a function that awaits its result. */
async function blpop(r, addr, key) {
  const result = r.blpop(key, patience / 1000);
  result.catch(() => {}); // it is reported when it is awaited
  await using(new Redis(address(addr)), (look) => awaitTrue("BLPOP blocks", async () => blocked(await look.client("LIST"))));
  return () => result;
}

version(library);

await run("connect", single(async (r) => {
  equal(await r.ping(), "PONG");
  equal(await r.client("GETNAME"), "of-ioredis");
  const info = await r.client("INFO");
  check(info, info.includes(" resp=2 ") && info.includes(` lib-name=ioredis lib-ver=${library}`));
  equal(await r.select(0), "OK");
  await refused(ReplyError, "ERR DB index is out of range", () => r.select(1));
}, { connectionName: "of-ioredis", protocol: 2 }));

await run("resp3", single(async (r) => {
  const info = await r.client("INFO");
  check(info, info.includes(" resp=3 "));
  equal(await r.hset("io:resp3:h", { a: 1, b: 2 }), 2);
  equal(await r.call("HGETALL", "io:resp3:h"), { a: "1", b: "2" });
  equal(await r.zadd("io:resp3:z", 1.5, "m"), 1);
  equal(await r.call("ZSCORE", "io:resp3:z", "m"), 1.5);
  equal(await r.get("io:resp3:none"), null);
}, { protocol: 3, replyMapping: "resp3" }));

await run("auth", async () => {
  const ping = async (password) => {
    const r = new Redis({ ...address(place.secured), password, retryStrategy: null });
    try {
      return await new Promise((resolve, reject) => {
        r.on("error", reject); // of the AUTH by itself
        r.ping().then(resolve, reject);
      });
    } finally {
      r.disconnect();
    }
  };
  equal(await ping(place.password), "PONG");
  await refused(ReplyError, "WRONGPASS", () => ping("another"));
  await refused(ReplyError, "NOAUTH", () => ping(undefined));
});

await run("strings", single(async (r) => {
  equal(await r.set("io:s", "hello"), "OK");
  equal(await r.get("io:s"), "hello");
  equal(await r.append("io:s", " world"), 11);
  equal(await r.getrange("io:s", 6, -1), "world");
  equal(await r.set("io:s", "no", "NX"), null);
  equal(await r.incrby("io:n", 42), 42);
  equal(await r.incrbyfloat("io:n", 0.5), "42.5");
  equal(await r.mset({ "io:m1": 1, "io:m2": 2 }), "OK");
  equal(await r.mget("io:m1", "io:none", "io:m2"), ["1", null, "2"]);
  equal(await r.del("io:m1", "io:m2", "io:none"), 2);
  equal(await r.get("io:m1"), null);
}));

await run("bitmaps", single(async (r) => {
  equal(await r.setbit("io:bits", 7, 1), 0);
  equal(await r.setbit("io:bits", 100, 1), 0);
  equal(await r.getbit("io:bits", 100), 1);
  equal(await r.bitcount("io:bits"), 2);
  equal(await r.bitpos("io:bits", 1), 7);
  equal(await r.bitop("NOT", "io:bits:not", "io:bits"), 13);
  equal(await r.bitfield("io:field", "SET", "u8", 8, 200, "GET", "u8", "#1"), [0, 200]);
}));

await run("hashes", single(async (r) => {
  equal(await r.hset("io:h", { a: 1, b: 2, c: 3 }), 3);
  equal(await r.hgetall("io:h"), { a: "1", b: "2", c: "3" });
  equal(await r.hmget("io:h", "a", "none"), ["1", null]);
  equal(await r.hincrby("io:h", "a", 10), 11);
  equal(await r.hdel("io:h", "b", "none"), 1);
  equal(await r.hlen("io:h"), 2);
  equal(await r.hexists("io:h", "c"), 1);
}));

await run("lists", single(async (r) => {
  equal(await r.rpush("io:l", "b", "c", "d"), 3);
  equal(await r.lpush("io:l", "a"), 4);
  equal(await r.linsert("io:l", "AFTER", "b", "x"), 5);
  equal(await r.lrange("io:l", 0, -1), ["a", "b", "x", "c", "d"]);
  equal(await r.lpos("io:l", "x"), 2);
  equal(await r.lmove("io:l", "io:l2", "RIGHT", "LEFT"), "d");
  equal(await r.lpop("io:l", 2), ["a", "b"]);
  equal(await r.llen("io:l"), 2);
}));

await run("sets", single(async (r) => {
  equal(await r.sadd("io:set", "a", "b", "c"), 3);
  equal(await r.sadd("io:set2", "b"), 1);
  equal(await r.sismember("io:set", "a"), 1);
  equal(await r.smismember("io:set", "a", "z"), [1, 0]);
  equal((await r.sdiff("io:set", "io:set2")).sort(), ["a", "c"]);
  equal(await r.sintercard(2, "io:set", "io:set2"), 1);
  equal(await r.srem("io:set", "a"), 1);
  equal(await r.scard("io:set"), 2);
}));

await run("sortedsets", single(async (r) => {
  equal(await r.zadd("io:z", 1, "a", 2.5, "b", 3, "c"), 3);
  equal(await r.zrange("io:z", 0, 1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
  equal(await r.zrevrangebyscore("io:z", "+inf", "(1"), ["c", "b"]);
  equal(await r.zincrby("io:z", 2.5, "a"), "3.5");
  equal(await r.zrank("io:z", "a"), 2);
  equal(await r.zpopmin("io:z"), ["b", "2.5"]);
  equal(await r.zcard("io:z"), 2);
}));

await run("expiry", single(async (r) => {
  equal(await r.set("io:e", "v", "EX", 100), "OK");
  const left = await r.ttl("io:e");
  check(`TTL: ${left}`, left >= 90 && left <= 100);
  equal(await r.persist("io:e"), 1);
  equal(await r.ttl("io:e"), -1);
  equal(await r.pexpire("io:e", 30), 1);
  await awaitTrue("expiry", async () => (await r.exists("io:e")) === 0);
  equal(await r.ttl("io:e"), -2);
  equal(await r.set("io:e", "v"), "OK");
  equal(await r.expireat("io:e", Math.floor(Date.now() / 1000) - 3600), 1);
  equal(await r.exists("io:e"), 0);
}));

await run("pipeline", single(async (r) => {
  const p = r.pipeline();
  for (const i of upTo(10_000)) p.incrby(`io:p:${i % 100}`, i);
  equal(replies(await p.exec()), sums(10_000, 100));
}));

await run("transaction", single(async (r) => {
  equal(replies(await r.multi().set("io:tx", "v").incr("io:txn").get("io:tx").exec()), ["OK", 1, "v"]);
  const [[failure], [, n]] = await r.multi().incr("io:tx").incr("io:txn").exec();
  check(`the error inside: ${failure}`, failure instanceof ReplyError && failure.message.startsWith("ERR value is not an integer"));
  equal(n, 2);
  equal(await r.get("io:txn"), "2");
}));

await run("watch", single(async (r) => {
  const double = async (meanwhile) => {
    await r.watch("io:w");
    const n = Number(await r.get("io:w"));
    await meanwhile();
    return r.multi().set("io:w", 2 * n).exec();
  };
  equal(await r.set("io:w", 1), "OK");
  const conflict = single(async (other) => equal(await other.set("io:w", 5), "OK"));
  equal(await double(conflict), null);
  equal(await r.get("io:w"), "5");
  equal(replies(await double(() => {})), ["OK"]);
  equal(await r.get("io:w"), "10");
}));

await run("blockingwoken", single(async (r) => {
  const result = await blpop(r, place.single, "io:b");
  await single(async (other) => equal(await other.rpush("io:b", "first", "second"), 2))();
  equal(await result(), ["io:b", "first"]);
  equal(await r.lrange("io:b", 0, -1), ["second"]);
}));

await run("blockingtimeout", single(async (r) => {
  const began = performance.now();
  equal(await r.blpop("io:none", 0.2), null);
  const took = performance.now() - began;
  check(`it took ${took} ms`, took >= 199 && took < patience); // the clocks of two processes
}));

await run("scan", single(async (r) => {
  const n = 1000;
  const p = r.pipeline();
  for (const i of upTo(n)) p.set(`io:scan:${i}`, i).hset("io:scanned:h", i, i).sadd("io:scanned:s", i).zadd("io:scanned:z", i, i);
  replies(await p.exec());
  const all = async (stream, of) => {
    const seen = new Set();
    for await (const items of stream) items.filter((_, i) => i % of === 0).forEach((item) => seen.add(item));
    return seen;
  };
  equal(await all(r.scanStream({ match: "io:scan:*", count: 100 }), 1), new Set(upTo(n).map((i) => `io:scan:${i}`)));
  const numbers = new Set(upTo(n).map(String));
  equal(await all(r.hscanStream("io:scanned:h", { count: 100 }), 2), numbers);
  equal(await all(r.sscanStream("io:scanned:s", { count: 100 }), 1), numbers);
  equal(await all(r.zscanStream("io:scanned:z", { count: 100 }), 2), numbers);
}));

await run("binary", single(async (r) => {
  const key = Buffer.concat([Buffer.from("io:"), anyBytes]);
  equal(await r.set(key, anyBytes), "OK");
  equal(await r.getBuffer(key), anyBytes);
  equal(await r.hset("io:binary:h", anyBytes, anyBytes), 1);
  equal(await r.hkeysBuffer("io:binary:h"), [anyBytes]);
  equal(await r.hgetBuffer("io:binary:h", anyBytes), anyBytes);
  equal(await r.sadd("io:binary:s", anyBytes), 1);
  equal(await r.smembersBuffer("io:binary:s"), [anyBytes]);
}));

await run("large", single(async (r) => {
  const b = Buffer.alloc(8 << 20, anyBytes);
  equal(await r.set("io:large", b), "OK");
  check("other bytes came back", b.equals(await r.getBuffer("io:large")));
  equal(await r.unlink("io:large"), 1);
}));

await run("errors", single(async (r) => {
  equal(await r.rpush("io:wrong", "a"), 1);
  await refused(ReplyError, "WRONGTYPE ", () => r.get("io:wrong"));
  await refused(ReplyError, "ERR unknown command ", () => r.call("NOSUCHCOMMAND"));
  equal(await r.set("io:wrong", "a"), "OK");
  await refused(ReplyError, "ERR value is not an integer", () => r.incr("io:wrong"));
  equal(await r.ping(), "PONG");
}));

await run("discover", cluster(async (c) => {
  await c.ping();
  await awaitTrue("all nodes are found", () => c.nodes("master").length === 3);
  equal(c.nodes("master").map((n) => `${n.options.host}:${n.options.port}`).sort(), [...place.nodes].sort());
  equal(c.slots.filter((nodes) => nodes.length === 1).length, 16384);
  check(await c.cluster("INFO"), (await c.cluster("INFO")).includes("cluster_state:ok"));
  equal((await c.cluster("SHARDS")).length, 3);
}));

await run("spread", cluster(async (c) => {
  for (const i of upTo(300)) equal(await c.set(`io:spread:${i}`, i), "OK");
  for (const i of upTo(300)) equal(await c.get(`io:spread:${i}`), String(i));
  for (const node of c.nodes("master")) {
    const n = (await node.keys("io:spread:*")).length;
    check(`${n} keys at ${node.options.port}`, n >= 60 && n <= 140);
  }
}));

await run("hashtags", cluster(async (c) => {
  for (const tag of place.still) {
    const k = (name) => `io:${tag}${name}`;
    equal(await c.mset(k("a"), 1, k("b"), 2), "OK");
    equal(await c.mget(k("a"), k("b"), k("none")), ["1", "2", null]);
    equal(await c.sadd(k("s"), "x", "y"), 2);
    equal(await c.sunionstore(k("t"), k("s"), k("none")), 2);
    equal(await c.rename(k("a"), k("c")), "OK");
    equal(await c.del(k("b"), k("c")), 2);
  }
}));

await run("crossslot", cluster(async (c) => {
  const [a, b] = place.still;
  await refused(ReplyError, "CROSSSLOT ", () => c.sunionstore(`io:${a}`, `io:${b}`));
  await refused(ReplyError, "CROSSSLOT ", () => c.rename(`io:${a}`, `io:${b}`));
}));

await run("clusterpipeline", cluster(async (c) => {
  equal(await Promise.all(upTo(3000).map((i) => c.incrby(`io:p:${i % 1000}`, i))), sums(3000, 1000));
}, { enableAutoPipelining: true }), "by enableAutoPipelining; pipeline() takes slots of one node only");

await run("clustertransaction", cluster(async (c) => {
  for (const tag of place.still) equal(replies(await c.multi().incr(`io:tx:a:${tag}`).incrby(`io:tx:b:${tag}`, 2).exec()), [1, 2]);
}));

await run("moves", cluster(async (c) => {
  await whileMoving(async (tag, done) => {
    equal(await c.incr(`io:moves:${tag}`), done + 1);
    equal(await c.get(`io:moves:${tag}`), String(done + 1));
  }, (tag) => c.get(`io:moves:${tag}`));
}));

await run("movespipeline", cluster(async (c) => {
  await whileMoving(async (tag, done) => {
    const keys = [`io:movesp:${tag}`];
    for (const still of place.still) keys.push(`io:movesp:${tag}${still}`, `io:movesp:${still}${tag}`);
    equal(await Promise.all(keys.map((key) => c.incr(key))), Array(keys.length).fill(done + 1));
  }, (tag) => c.get(`io:movesp:${tag}`));
}), "of commands that are not awaited one by one; see below for pipeline()");

await run("movestransaction", cluster(async (c) => {
  await whileMoving(async (tag, done) => {
    equal(replies(await c.multi().incr(`io:movest:${tag}`).rpush(`io:movest:list:${tag}`, done).exec()), [done + 1, done + 1]);
  }, (tag) => c.get(`io:movest:${tag}`));
}));

await run("movesblocking", cluster(async (c) => {
  for (const i of upTo(3)) {
    const key = `io:movesb:${place.tags[i]}`;
    const result = await blpop(c, place.nodes[i], key);
    await move(i, (i + 1) % 3, i === 2);
    await cluster(async (other) => equal(await other.rpush(key, "served"), 1))();
    equal(await result(), [key, "served"]);
  }
}));
