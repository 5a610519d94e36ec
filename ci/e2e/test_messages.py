"""Transactions and messages through a real client, over kernel sockets and over AF_XDP."""

import pytest
import redis

from coney import connect


def transactions(host, port, protocol):
    client, other = connect(host, port, protocol=protocol), connect(host, port, protocol=protocol)
    client.set("balance", 10)
    aborted = 0
    with client.pipeline() as pipeline:
        for attempt in range(2):
            pipeline.watch("balance")
            balance = int(pipeline.get("balance"))
            if attempt == 0:
                other.set("balance", 20)
            pipeline.multi()
            pipeline.set("balance", balance + 1)
            pipeline.get("balance")
            try:
                results = pipeline.execute()
            except redis.WatchError:
                aborted += 1
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set("text", "x").incr("text").get("text")
        mixed = [type(result).__name__ for result in pipeline.execute(raise_on_error=False)]
    return aborted, results, mixed


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_watched_key_aborts_only_when_it_changed(server, protocol):
    aborted, results, mixed = server.call(transactions, protocol)
    assert aborted == 1
    assert results == [True, b"21"]
    assert mixed == ["bool", "ResponseError", "bytes"]


def messages(host, port, protocol):
    subscribers = [connect(host, port, protocol=protocol).pubsub(ignore_subscribe_messages=False) for _ in range(20)]
    for subscriber in subscribers:
        subscriber.subscribe("news")
        subscriber.psubscribe("n*")
        for _ in range(2):
            assert subscriber.get_message(timeout=30)["type"] in ("subscribe", "psubscribe")
    publisher = connect(host, port, protocol=protocol)
    counts = {publisher.publish("news", f"message {number}") for number in range(50)}
    received = []
    for subscriber in subscribers:
        texts = {"message": [], "pmessage": []}
        for _ in range(100):
            message = subscriber.get_message(timeout=30)
            texts[message["type"]].append(message["data"].decode())
        received.append(texts)
        subscriber.close()
    return counts, received


@pytest.mark.parametrize("protocol", [2, 3])
def test_every_subscriber_gets_every_message_in_order(server, protocol):
    counts, received = server.call(messages, protocol)
    expected = [f"message {number}" for number in range(50)]
    assert counts == {40}
    assert received == [{"message": expected, "pmessage": expected}] * 20
