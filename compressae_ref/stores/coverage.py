"""Count the items of a store by what they have: a dense vector, a code, both or neither."""

from __future__ import annotations

from compressae_ref.errors import StoreError
from compressae_ref.stores.contract import ROWS, Store
from compressae_ref.stores.unknown_ids import Ids

_OTHER_FIELD = (
    "push with --field NAME writes new codes beside these, and then push --field NAME --from FILE those of these "
    "items, from a file of their vectors; codes of items that no longer exist can be deleted in the database"
)


def codes_to_write(store: Store, field: str, *, replace: bool = False) -> int:
    """Return how many items have a dense vector, but no code in this field, or all with a vector if ``replace``.

    Raises
    ------
    StoreError
        If ``replace`` would delete codes of items without a dense vector: a push could not write them again.
    """
    n = store.count()
    if not store.has_field(field):
        return n
    alone = codes_alone(store, field)
    if not replace:
        return n - (store.count_written(field) - alone.n)
    if alone.n:
        raise StoreError(
            f"expected a dense vector of every item with a code, because replacing deletes all codes of the field "
            f"{field!r}; got {alone.n:,} items with a code and without a vector: {alone}",
            path=store.name,
            hint=_OTHER_FIELD,
        )
    return n


def codes_alone(store: Store, field: str) -> Ids:
    """Return the items that have a code, but no dense vector, such as those that were added with a code alone."""
    alone = Ids()
    for ids in store.codes_alone(field, ROWS):
        alone.add(ids)
    return alone
