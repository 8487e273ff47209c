"""Orders of people in etcd: read together, changed one at a time by compare-and-swap, each change in the audit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gtm.model.errors import StoreError
from gtm.model.override import Override, Subject
from gtm.store.etcd.client import TOTAL_S, Client
from gtm.store.etcd.fault import Unconfirmed
from gtm.store.etcd.layout import Layout, decode_entry, encode_entry, encode_order, read_orders
from gtm.store.overrides import EXPIRED, OURSELVES, REMOVED, AuditEntry
from gtm.wire import etcd, etcd_answer

AUDIT_MAX = 1000
PRUNED_MAX = 100  # operations in one transaction: etcd takes 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All orders at one revision of the store, oldest first, over or not, and which change of orders was the last."""

    overrides: tuple[Override, ...]
    changed: int
    faults: tuple[str, ...] = ()

    def find(self, subject: Subject) -> Override | None:
        """A subject's order."""
        return next((one for one in self.overrides if one.subject == subject), None)


class Orders:
    """The orders of a cluster. Every method raises StoreError; Unconfirmed where a change may have been made."""

    def __init__(self, client: Client, *, total_s: float = TOTAL_S) -> None:
        """Through a client; each call has `total_s`."""
        self._client = client
        self._layout = Layout(prefix=client.cluster.prefix)
        self.total_s = total_s

    async def standing(self) -> Standing:
        """All orders."""
        key, end = self._layout.orders
        reads = (etcd.Range(key=key, range_end=end), etcd.Range(key=self._layout.changed))
        match (await self._client.txn(etcd.Txn(success=reads), total_s=self.total_s)).outcomes:
            case (etcd_answer.Found() as found, etcd_answer.Found() as changed):
                overrides, faults = read_orders(self._layout, found.pairs)
                revision = max((pair.mod_revision for pair in changed.pairs), default=0)
                return Standing(overrides=overrides, changed=revision, faults=faults)
        raise StoreError("etcd: an answer to a transaction has not what was asked for")

    async def put(self, order: Override, seen: Standing) -> bool:
        """Set a subject's order, if no order has changed since `seen`; whether it was set."""
        before = seen.find(order.subject)
        entry = AuditEntry(
            at_s=order.since_s,
            who=order.owner,
            what=order.action,
            subject=order.subject,
            why=order.reason,
            until_s=order.until_s,
            before=None if before is None else before.action,
        )
        change = etcd.Put(key=self._layout.order(order.subject), value=encode_order(order))
        return await self._change(self._unchanged(seen), change, entry)

    async def remove(self, subject: Subject, seen: Standing, *, by: str, reason: str, now_s: float) -> bool:
        """Take a subject's order back, if no order has changed since `seen`; whether it was taken back."""
        before = seen.find(subject)
        if before is None:
            return False
        return await self._change(
            self._unchanged(seen),
            etcd.Delete(key=self._layout.order(subject)),
            _ended(before, who=by, what=REMOVED, why=reason, now_s=now_s),
        )

    async def expire(self, order: Override, mod_revision: int, *, now_s: float) -> bool:
        """Drop an order whose time is over, if it is still the one of `mod_revision`; whether that was done here."""
        key = self._layout.order(order.subject)
        return await self._change(
            etcd.Compare(key=key, target=etcd.Target.MOD, number=mod_revision),
            etcd.Delete(key=key),
            _ended(order, who=OURSELVES, what=EXPIRED, why=order.reason, now_s=now_s),
        )

    async def audit(self, *, limit: int) -> tuple[AuditEntry, ...]:
        """The latest changes, newest first."""
        if limit <= 0:
            return ()
        key, end = self._layout.audits
        request = etcd.Range(key=key, range_end=end, limit=limit, newest_first=True)
        found = await self._client.range(request, total_s=self.total_s)
        return tuple(entry for pair in found.pairs if (entry := decode_entry(pair.value)) is not None)

    async def prune(self) -> None:
        """Forget the oldest entries of the audit beyond AUDIT_MAX, some at a time."""
        key, end = self._layout.audits
        newest = etcd.Range(key=key, range_end=end, limit=AUDIT_MAX + PRUNED_MAX, keys_only=True, newest_first=True)
        found = await self._client.range(newest, total_s=self.total_s)
        over = tuple(etcd.Delete(key=pair.key) for pair in found.pairs[AUDIT_MAX:])
        if over:
            await self._client.txn(etcd.Txn(success=over), total_s=self.total_s)

    def _unchanged(self, seen: Standing) -> etcd.Compare:
        return etcd.Compare(key=self._layout.changed, target=etcd.Target.MOD, number=seen.changed)

    async def _change(self, compare: etcd.Compare, change: etcd.Put | etcd.Delete, entry: AuditEntry) -> bool:
        """An order, its entry in the audit and the mark of change: all of it or nothing."""
        name = f"{int(entry.at_s * 1e6):017d}-{secrets.token_hex(6)}"
        key = self._layout.audit(name)
        mark = etcd.Put(key=self._layout.changed, value=name.encode())
        request = etcd.Txn(compares=(compare,), success=(change, etcd.Put(key=key, value=encode_entry(entry)), mark))
        try:
            decided = await self._client.txn(request, total_s=self.total_s)
        except Unconfirmed as error:
            raise Unconfirmed(f"{error}; whether it was changed is not known: `gtm overrides` tells") from error
        if decided.succeeded:
            return True
        # A try whose answer was lost may have been the one that changed what a later try compared.
        return bool((await self._client.range(etcd.Range(key=key), total_s=self.total_s)).pairs)


def _ended(order: Override, *, who: str, what: str, why: str, now_s: float) -> AuditEntry:
    return AuditEntry(
        at_s=now_s,
        who=who,
        what=what,
        subject=order.subject,
        why=why,
        until_s=order.until_s,
        before=order.action,
    )
