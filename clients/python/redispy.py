"""Runs the scenarios with redis-py. The argument is where the servers are, as JSON; see ../README.md."""

import json
import subprocess
import sys
import threading
import time
import traceback

import redis
from redis.cluster import ClusterNode, RedisCluster

PATIENCE = 60  # seconds for whatever is waited for; nothing takes so long
ANY_BYTES = bytes(range(256)) + b"\r\n$-1\r\n\xff\xfe\x00"

place = json.loads(sys.argv[1])


def address(addr):
    host, port = addr.rsplit(":", 1)
    return {"host": host, "port": int(port)}


def single(**options):
    return redis.Redis(**address(place["single"]), **options)


def cluster(**options):
    return RedisCluster(**address(place["nodes"][1]), **options)


def move(source, target, new_map):
    command = [place["godwit"], "migrate", "start", "--wait", "--slots", place["slots"]]
    command += ["--node", place["nodes"][source], "--to", place["nodes"][target]]
    done = subprocess.run(command + ["--update-map"] * new_map, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")


def equal(got, want):
    if got != want or type(got) is not type(want):
        raise AssertionError(f"got {got!r}, want {want!r}")


def refused(kind, text, call, *args):
    """Checks that the server refuses a call by an error of this class whose text holds these words."""
    try:
        got = call(*args)
    except Exception as e:  # what the client makes of an error is what is checked
        if type(e) is not kind or text not in str(e):
            raise AssertionError(f"got {e!r}, want {kind.__name__} with {text!r}") from e
        return
    raise AssertionError(f"got {got!r}, want {kind.__name__} with {text!r}")


def await_true(what, condition):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE:
            raise AssertionError(f"waited in vain: {what}")


def connect():
    r = single(client_name="of-python", db=0)
    equal(r.ping(), True)
    equal(r.client_getname(), "of-python")
    equal(r.client_info()["resp"], "2")
    refused(redis.ResponseError, "DB index is out of range", single(db=1).ping)


def auth():
    secured = address(place["secured"])
    equal(redis.Redis(**secured, password=place["password"]).ping(), True)
    equal(redis.Redis(**secured, username="default", password=place["password"]).ping(), True)
    # This version knows no class for WRONGPASS.
    refused(redis.ResponseError, "WRONGPASS", redis.Redis(**secured, username="default", password="another").ping)
    refused(redis.AuthenticationError, "Authentication required", redis.Redis(**secured).ping)


def strings():
    r = single()
    equal(r.set("py:s", "hello"), True)
    equal(r.get("py:s"), b"hello")
    equal(r.append("py:s", " world"), 11)
    equal(r.getrange("py:s", 6, -1), b"world")
    equal(r.set("py:s", "no", nx=True), None)
    equal(r.incrby("py:n", 42), 42)
    equal(r.incrbyfloat("py:n", 0.5), 42.5)
    equal(r.mset({"py:m1": 1, "py:m2": 2}), True)
    equal(r.mget("py:m1", "py:none", "py:m2"), [b"1", None, b"2"])
    equal(r.delete("py:m1", "py:m2", "py:none"), 2)
    equal(r.get("py:m1"), None)


def bitmaps():
    r = single()
    equal(r.setbit("py:bits", 7, 1), 0)
    equal(r.setbit("py:bits", 100, 1), 0)
    equal(r.getbit("py:bits", 100), 1)
    equal(r.bitcount("py:bits"), 2)
    equal(r.bitpos("py:bits", 1), 7)
    equal(r.bitop("NOT", "py:bits:not", "py:bits"), 13)
    equal(r.bitfield("py:field").set("u8", 8, 200).get("u8", "#1").execute(), [0, 200])


def hashes():
    r = single()
    equal(r.hset("py:h", mapping={"a": 1, "b": 2, "c": 3}), 3)
    equal(r.hgetall("py:h"), {b"a": b"1", b"b": b"2", b"c": b"3"})
    equal(r.hmget("py:h", "a", "none"), [b"1", None])
    equal(r.hincrby("py:h", "a", 10), 11)
    equal(r.hdel("py:h", "b", "none"), 1)
    equal(r.hlen("py:h"), 2)
    equal(r.hexists("py:h", "c"), True)


def lists():
    r = single()
    equal(r.rpush("py:l", "b", "c", "d"), 3)
    equal(r.lpush("py:l", "a"), 4)
    equal(r.linsert("py:l", "AFTER", "b", "x"), 5)
    equal(r.lrange("py:l", 0, -1), [b"a", b"b", b"x", b"c", b"d"])
    equal(r.lpos("py:l", "x"), 2)
    equal(r.lmove("py:l", "py:l2", "RIGHT", "LEFT"), b"d")
    equal(r.lpop("py:l", 2), [b"a", b"b"])
    equal(r.llen("py:l"), 2)


def sets():
    r = single()
    equal(r.sadd("py:set", "a", "b", "c"), 3)
    equal(r.sadd("py:set2", "b"), 1)
    equal(r.sismember("py:set", "a"), True)
    equal(r.smismember("py:set", ["a", "z"]), [1, 0])
    equal(r.sdiff("py:set", "py:set2"), {b"a", b"c"})
    equal(r.sintercard(2, ["py:set", "py:set2"]), 1)
    equal(r.srem("py:set", "a"), 1)
    equal(r.scard("py:set"), 2)


def sorted_sets():
    r = single()
    equal(r.zadd("py:z", {"a": 1, "b": 2.5, "c": 3}), 3)
    equal(r.zrange("py:z", 0, 1, withscores=True), [(b"a", 1.0), (b"b", 2.5)])
    equal(r.zrevrangebyscore("py:z", "+inf", "(1"), [b"c", b"b"])
    equal(r.zincrby("py:z", 2.5, "a"), 3.5)
    equal(r.zrank("py:z", "a"), 2)
    equal(r.zpopmin("py:z"), [(b"b", 2.5)])
    equal(r.zcard("py:z"), 2)


def expiry():
    r = single()
    equal(r.set("py:e", "v", ex=100), True)
    if not 90 <= r.ttl("py:e") <= 100:
        raise AssertionError(f"TTL: {r.ttl('py:e')}")
    equal(r.persist("py:e"), True)
    equal(r.ttl("py:e"), -1)
    equal(r.pexpire("py:e", 30), True)
    await_true("expiry", lambda: r.exists("py:e") == 0)
    equal(r.ttl("py:e"), -2)
    equal(r.set("py:e", "v"), True)
    equal(r.expireat("py:e", int(time.time()) - 3600), True)
    equal(r.exists("py:e"), 0)


def pipelined(r, n, keys):
    """Checks a pipeline of n increments of so many keys."""
    with r.pipeline(transaction=False) if isinstance(r, redis.Redis) else r.pipeline() as p:
        for i in range(n):
            p.incrby(f"py:p:{i % keys}", i)
        got = p.execute()
    sums = [0] * keys
    for i in range(n):
        sums[i % keys] += i
        equal(got[i], sums[i % keys])
    equal(len(got), n)


def pipeline():
    pipelined(single(), 10_000, 100)


def transaction():
    r = single()
    with r.pipeline(transaction=True) as p:
        equal(p.set("py:tx", "v").incr("py:txn").get("py:tx").execute(), [True, 1, b"v"])
        got = p.incr("py:tx").incr("py:txn").execute(raise_on_error=False)
    if not isinstance(got[0], redis.ResponseError) or "value is not an integer" not in str(got[0]):
        raise AssertionError(f"got {got!r}")
    equal(got[1], 2)
    equal(r.get("py:txn"), b"2")


def watch():
    r = single()
    equal(r.set("py:w", 1), True)

    def double(meanwhile):
        with r.pipeline() as p:
            p.watch("py:w")
            n = int(p.get("py:w"))
            meanwhile()
            p.multi()
            p.set("py:w", 2 * n)
            return p.execute()

    try:
        double(lambda: equal(r.set("py:w", 5), True))
        raise AssertionError("EXEC was accepted after a conflict")
    except redis.WatchError:
        pass
    equal(r.get("py:w"), b"5")
    equal(double(lambda: None), [True])
    equal(r.get("py:w"), b"10")


def blpop(r, addr, key):
    """Starts a blocking read, returns when the server at addr has blocked it. The result is a function that waits for it."""
    got = []

    def read():
        try:
            got.append(r.blpop(key, timeout=PATIENCE))
        except Exception as e:  # it is the result
            got.append(e)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    look = redis.Redis(**address(addr))
    await_true("BLPOP blocks", lambda: any(c["flags"] == "b" and c["cmd"] == "blpop" for c in look.client_list()))

    def result():
        thread.join()
        return got[0]

    return result


def blocking_woken():
    r = single()
    result = blpop(r, place["single"], "py:b")
    equal(r.rpush("py:b", "first", "second"), 2)
    equal(result(), (b"py:b", b"first"))
    equal(r.lrange("py:b", 0, -1), [b"second"])


def blocking_timeout():
    began = time.monotonic()
    equal(single().blpop("py:none", timeout=0.2), None)
    took = time.monotonic() - began
    if not 0.2 <= took < PATIENCE:
        raise AssertionError(f"it took {took} s")


def scan():
    r, n = single(), 1000
    with r.pipeline(transaction=False) as p:
        for i in range(n):
            p.set(f"py:scan:{i}", i).hset("py:scanned:h", i, i).sadd("py:scanned:s", i).zadd("py:scanned:z", {i: i})
        p.execute()
    equal(set(r.scan_iter("py:scan:*", count=100)), {b"py:scan:%d" % i for i in range(n)})
    equal(dict(r.hscan_iter("py:scanned:h", count=100)), {b"%d" % i: b"%d" % i for i in range(n)})
    equal(set(r.sscan_iter("py:scanned:s", count=100)), {b"%d" % i for i in range(n)})
    equal(dict(r.zscan_iter("py:scanned:z", count=100)), {b"%d" % i: float(i) for i in range(n)})


def binary():
    r, b = single(), ANY_BYTES
    equal(r.set(b"py:" + b, b), True)
    equal(r.get(b"py:" + b), b)
    equal(r.hset("py:binary:h", b, b), 1)
    equal(r.hgetall("py:binary:h"), {b: b})
    equal(r.sadd("py:binary:s", b), 1)
    equal(r.smembers("py:binary:s"), {b})


def large():
    r, b = single(), (ANY_BYTES * (8 << 20))[: 8 << 20]
    equal(r.set("py:large", b), True)
    if r.get("py:large") != b:
        raise AssertionError("other bytes came back")
    equal(r.unlink("py:large"), 1)


def errors():
    r = single()
    equal(r.rpush("py:wrong", "a"), 1)
    refused(redis.ResponseError, "WRONGTYPE ", r.get, "py:wrong")
    refused(redis.ResponseError, "unknown command ", r.execute_command, "NOSUCHCOMMAND")
    equal(r.set("py:wrong", "a"), True)
    refused(redis.ResponseError, "value is not an integer", r.incr, "py:wrong")
    equal(r.ping(), True)


def discover():
    c = cluster()
    equal(sorted(n.name for n in c.get_primaries()), sorted(place["nodes"]))
    equal(len(c.nodes_manager.slots_cache), 16384)
    equal(c.cluster_info(target_nodes=RedisCluster.RANDOM)["cluster_state"], "ok")
    equal(len(c.cluster_nodes()), 3)


def spread():
    c = cluster()
    for i in range(300):
        equal(c.set(f"py:spread:{i}", i), True)
    for i in range(300):
        equal(c.get(f"py:spread:{i}"), b"%d" % i)
    for node in c.get_primaries():
        n = len(c.keys("py:spread:*", target_nodes=node))
        if not 60 <= n <= 140:
            raise AssertionError(f"{n} keys at {node}")


def hash_tags():
    c = cluster()
    for tag in place["still"]:

        def k(name):
            return f"py:{tag}{name}"

        equal(c.mset({k("a"): 1, k("b"): 2}), True)
        equal(c.mget(k("a"), k("b"), k("none")), [b"1", b"2", None])
        equal(c.sadd(k("s"), "x", "y"), 2)
        equal(c.sunionstore(k("t"), [k("s"), k("none")]), 2)
        equal(c.rename(k("a"), k("c")), True)
        equal(c.delete(k("b"), k("c")), 2)


def cross_slot():
    """The client knows by itself that two keys are in two slots; a node is asked to hear it say so."""
    c, (a, b) = cluster(), place["still"][:2]
    refused(redis.exceptions.RedisClusterException, "same key slot", c.sunionstore, f"py:{a}", f"py:{b}")
    node = c.get_redis_connection(c.get_node_from_key(f"py:{a}"))
    refused(redis.exceptions.ClusterCrossSlotError, "", node.sunionstore, f"py:{a}", f"py:{b}")


def cluster_pipeline():
    pipelined(cluster(), 3000, 1000)


def transaction_at(c, key):
    """A transaction on the node of a key: the cluster client of this version has none."""
    return c.get_redis_connection(c.get_node_from_key(key)).pipeline(transaction=True)


def cluster_transaction():
    c = cluster()
    for tag in place["still"]:
        with transaction_at(c, tag) as p:
            equal(p.incr(f"py:tx:a:{tag}").incrby(f"py:tx:b:{tag}", 2).execute(), [1, 2])


def while_moving(prefix, step):
    """Runs a worker for each tag until the slots have been to all nodes, with and without a new map, and are back. Each does
    its step again and again, which is given how often it has been done and is the only one to touch its keys. prefix+tag must
    then hold the number of steps of the worker that has the tag."""
    tags, over, failures = place["tags"], threading.Event(), []
    counts, begun = dict.fromkeys(tags, 0), threading.Barrier(len(tags) + 1)

    def work(tag):
        try:
            while not over.is_set():
                step(tag, counts[tag])
                counts[tag] += 1
                if counts[tag] == 1:
                    begun.wait(PATIENCE)
        except Exception as e:
            failures.append(f"{tag}, after {counts[tag]} times: {describe(e)}")
            begun.abort()

    workers = [threading.Thread(target=work, args=(tag,)) for tag in tags]
    for w in workers:
        w.start()
    try:
        begun.wait(PATIENCE)
        for i in range(3):
            move(i, (i + 1) % 3, i == 1)
    finally:
        over.set()
        for w in workers:
            w.join()
        if failures:
            raise AssertionError("; ".join(failures))
    c = cluster()
    for tag in tags:
        equal(c.get(prefix + tag), b"%d" % counts[tag])


def moves():
    c = cluster()

    def step(tag, done):
        equal(c.incr(f"py:moves:{tag}"), done + 1)
        equal(c.get(f"py:moves:{tag}"), b"%d" % (done + 1))

    while_moving("py:moves:", step)


def moves_pipeline():
    c = cluster()

    def step(tag, done):
        with c.pipeline() as p:
            p.incr(f"py:movesp:{tag}")
            for still in place["still"]:
                p.incr(f"py:movesp:{tag}{still}")  # in the slot of the tag
                p.incr(f"py:movesp:{still}{tag}")  # in another, often at another node
            equal(p.execute(), [done + 1] * (1 + 2 * len(place["still"])))

    while_moving("py:movesp:", step)


def moves_blocking():
    c = cluster()
    for i in range(3):
        key = f"py:movesb:{place['tags'][i]}"
        result = blpop(c, place["nodes"][i], key)
        move(i, (i + 1) % 3, i == 2)
        equal(c.rpush(key, "served"), 1)
        equal(result(), (key.encode(), b"served"))


def describe(e):
    where = traceback.extract_tb(e.__traceback__)
    lines = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(where) if f.filename == __file__)
    return f"{type(e).__name__}: {e} ({lines})"


def answer(scenario, **outcome):
    print(json.dumps({"scenario": scenario, **outcome}), flush=True)


def run(scenario, function, note=""):
    try:
        function()
    except Exception as e:  # whatever it is, the others are run
        answer(scenario, error=describe(e))
        return
    answer(scenario, ok=True, note=note)


print(json.dumps({"version": redis.__version__}), flush=True)
run("connect", connect)
answer("resp3", absent="RESP3 comes with version 5.0")
run("auth", auth)
run("strings", strings)
run("bitmaps", bitmaps)
run("hashes", hashes)
run("lists", lists)
run("sets", sets)
run("sortedsets", sorted_sets)
run("expiry", expiry)
run("pipeline", pipeline)
run("transaction", transaction)
run("watch", watch)
run("blockingwoken", blocking_woken)
run("blockingtimeout", blocking_timeout)
run("scan", scan)
run("binary", binary)
run("large", large)
run("errors", errors)
run("discover", discover)
run("spread", spread)
run("hashtags", hash_tags)
run("crossslot", cross_slot, "the client refuses before it asks; a node that is asked answers CROSSSLOT")
run("clusterpipeline", cluster_pipeline)
run(
    "clustertransaction",
    cluster_transaction,
    "on the connection of the key's node: the cluster client of this version has no transactions",
)
run("moves", moves)
run("movespipeline", moves_pipeline)
answer("movestransaction", absent="the cluster client of this version has no transactions")
run("movesblocking", moves_blocking)
