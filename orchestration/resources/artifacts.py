"""Trained models as artifacts with an address.

An address is a hash of what an artifact was made from: its inputs, the code and the parameters. The same inputs give the same
address, so training that was done once is not done again, and a table can say which model it came from. What an artifact
means is the business of whoever wrote it.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dagster import ConfigurableIOManager, ConfigurableResource, InputContext, OutputContext

_DOCUMENT = "artifact.json"


@dataclass(frozen=True)
class Artifact:
    """One stored artifact, read lazily.

    Args:
        address: `<kind>-<hash>`.
        folder: Where its files are.
    """

    address: str
    folder: Path

    @property
    def document(self) -> dict[str, Any]:
        """What describes the artifact: parameters, figures, whatever fits JSON."""
        content: dict[str, Any] = json.loads((self.folder / _DOCUMENT).read_text())
        return content

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The named bundle of arrays; object arrays are refused, so nothing in it can run code."""
        with np.load(self.folder / f"{name}.npz", allow_pickle=False) as bundle:
            return dict(bundle)

    def table(self, name: str) -> pa.Table:
        """The named Arrow table."""
        return pq.read_table(self.folder / f"{name}.parquet")


class ArtifactStore(ConfigurableResource["ArtifactStore"]):
    """Content-addressed folders below one root.

    Args:
        root: Folder of the store.
    """

    root: str

    @staticmethod
    def address(kind: str, *, inputs: Sequence[str], code: str, parameters: Mapping[str, Any]) -> str:
        """Address of the artifact that these inputs, this code and these parameters make."""
        identity = json.dumps(
            {"kind": kind, "inputs": list(inputs), "code": code, "parameters": parameters}, sort_keys=True, default=str
        )
        return f"{kind}-{hashlib.sha256(identity.encode()).hexdigest()[:24]}"

    def find(self, address: str) -> Artifact | None:
        """The artifact at an address, or None if it has not been made. What is found counts as used (`prune`)."""
        folder = Path(self.root) / address
        if not (folder / _DOCUMENT).exists():
            return None
        os.utime(folder)
        return Artifact(address, folder)

    def get(self, address: str) -> Artifact:
        """The artifact at an address.

        Raises:
            LookupError: If there is none.
        """
        artifact = self.find(address)
        if artifact is None:
            raise LookupError(f"No artifact {address} in {self.root}; materialise the asset that makes it")
        return artifact

    def put(
        self,
        address: str,
        *,
        document: Mapping[str, Any],
        arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> Artifact:
        """Stores an artifact; it appears whole or not at all, and one that is there already is kept.

        Args:
            address: From `address`.
            document: JSON-able description.
            arrays: Bundles of arrays by name.
            tables: Arrow tables by name.

        Returns:
            The stored artifact.
        """
        root = Path(self.root)
        root.mkdir(parents=True, exist_ok=True)
        existing = self.find(address)
        if existing is not None:
            return existing
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=root))
        try:
            for name, bundle in (arrays or {}).items():
                np.savez(scratch / f"{name}.npz", **bundle)  # type: ignore[arg-type]
            for name, table in (tables or {}).items():
                pq.write_table(table, scratch / f"{name}.parquet")
            (scratch / _DOCUMENT).write_text(json.dumps(document, indent=2, sort_keys=True, default=str))
            os.replace(scratch, root / address)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return self.get(address)

    def prune(self, kind: str, *, keep: int) -> list[str]:
        """Deletes the oldest artifacts of a kind beyond `keep`; returns the addresses deleted."""
        made = sorted(Path(self.root).glob(f"{kind}-*"), key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
        deleted = made[: max(0, len(made) - keep)]
        for folder in deleted:
            shutil.rmtree(folder)
        return [folder.name for folder in deleted]


class AddressIOManager(ConfigurableIOManager):
    """Hands an artifact's address from an asset to those that read it.

    The address is the value; it is kept in one small file an asset, so that a later run that materialises only what stands
    downstream reads the artifact of the last materialisation, by lineage.

    Args:
        root: Folder of the files.
    """

    root: str

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Writes the address atomically."""
        if not isinstance(obj, str):
            raise TypeError(
                f"{context.asset_key.to_user_string()} must return the address of an artifact, not {type(obj)}"
            )
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".writing")
        scratch.write_text(obj)
        os.replace(scratch, path)

    def load_input(self, context: InputContext) -> str:
        """Reads the address.

        Raises:
            LookupError: If the upstream asset has never been materialised.
        """
        path = self._path(context)
        if not path.exists():
            raise LookupError(f"{context.asset_key.to_user_string()} has not been materialised; select it in the run")
        return path.read_text()

    def _path(self, context: InputContext | OutputContext) -> Path:
        return Path(self.root) / f"{'__'.join(context.asset_key.path)}.address"
