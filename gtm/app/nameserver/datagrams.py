"""UDP: take what has come, answer it, come back."""

from __future__ import annotations

import socket

from gtm.app.nameserver import counters as c
from gtm.app.nameserver.answerer import Answerer
from gtm.app.nameserver.batch import Batch
from gtm.model.address import Endpoint


class Datagrams:
    """One UDP socket and those who ask it."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, answerer: Answerer, counters: memoryview) -> None:
        """For a socket that is bound to an endpoint; one bound to any address answers from the address asked."""
        self._batch = Batch(sock, with_control=endpoint.address.is_unspecified)
        self._word = c.UDP4 if endpoint.address.version == 4 else c.UDP6
        self._answerer = answerer
        self._counters = counters

    def answer(self) -> None:
        """Take one batch of queries and answer them. Never raises and never blocks."""
        batch, answerer, counters = self._batch, self._answerer, self._counters
        count = batch.receive()
        if not count:
            return
        fast, full = answerer.fast, answerer.full
        queries, names, lengths = batch.queries, batch.names, batch.lengths
        replies, reply_lengths = batch.replies, batch.reply_lengths
        slow = start = slot = failed = 0
        for query_at, length_word, client_at, client_end, reply_at, reply_word in batch.slots[:count]:
            query = queries[query_at : query_at + lengths[length_word]]
            client = names[client_at:client_end]
            reply = fast(query, client)
            if reply is None:
                slow += 1
                reply = full(query, client)
                if reply is None:  # silence: send what is ready, and go on behind it
                    failed += batch.send(start, slot)
                    start = slot = slot + 1
                    continue
            size = len(reply)
            replies[reply_at : reply_at + size] = reply
            reply_lengths[reply_word] = size
            slot += 1
        failed += batch.send(start, slot)
        counters[self._word] += count
        counters[c.FAST] += count - slow
        counters[c.RCODE] += count - slow  # the fast path answers NOERROR only
        if failed:
            counters[c.SEND_ERRORS] += failed
