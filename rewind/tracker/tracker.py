"""`Tracker`: the tracked runs in a folder, to read and to look after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..errors import ArgumentError
from ..runs.progress import ProgressOption
from .difference import RunDifference, difference
from .fsck import Report, fsck
from .moment import reference
from .purge import Purged, purge, set_removed
from .revision import Revision
from .store import history
from .store.damage import understood
from .store.database import Store, folder_of
from .store.lookup import find, revision_with
from .transfer.export import export
from .transfer.histories import import_histories
from .transfer.import_ import import_bundle


class Tracker:
    """The tracked runs in a folder, for reading, checking, exporting and removing.

    Parameters
    ----------
    dir : str or path-like, optional
        As for `init`.

    Raises
    ------
    StoreError, StoreVersionError, StoreDamagedError
        If there is none, or it cannot be read.

    Examples
    --------
    ::

        for run in rewind.Tracker().runs():
            print(run.ref, run.status, run.summary)
    """

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:
        self._folder = folder_of(dir)
        Store(self._folder, strict=False).close()  # `fsck` says what is wrong with the schema, all else refuses it

    @property
    def dir(self) -> str:
        """The folder."""
        return self._folder

    def runs(self, project: str | None = None, *, removed: bool = False) -> list[Revision]:
        """Return all runs, each as its current revision, in the order they were begun.

        Parameters
        ----------
        project : str, optional
            Only those of a project.
        removed : bool
            Those that were removed, instead.
        """
        query = "SELECT current, project, entity FROM runs WHERE removed = ? ORDER BY began, id"
        store = Store(self._folder)
        try:
            with understood(store.path), store.snapshot():
                rows = store.read(query, (int(removed),))
                return [
                    Revision(self._folder, history.record_of(store, uid), label, entity)
                    for uid, label, entity in rows
                    if project is None or label == project
                ]
        finally:
            store.close()

    def run(self, run_id: str) -> Revision:
        """Return a run by its id: its current revision, or with ``ID@REV`` another; or the one that a digest names.

        Parameters
        ----------
        run_id : str
            ``ID``, ``ID@REV``, or `Revision.digest`: whole, or its first eight letters or more.

        Raises
        ------
        RunNotFoundError
            If there is none; names the nearest.
        ArgumentError
            If it is the beginning of several digests; names them.
        """
        name, number = reference(run_id)
        store = Store(self._folder)
        try:
            with understood(store.path):
                return Revision(self._folder, *find(store, name, number, removed=True))
        finally:
            store.close()

    def _whole(self, run_id: str, *, for_good: bool = False) -> str:
        """Return a run's id, also where it is named by a digest; a revision cannot be removed or exported by itself.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            If it is none; or if it is the digest of an archived revision, and the run is deleted `for_good`.
        """
        name, number = reference(run_id)
        if number is None:
            store = Store(self._folder)
            try:
                named = None if history.run_row(store, name) else revision_with(store, name)
                if named is not None:
                    name = named[0]
                    if for_good and find(store, name, removed=True).record.number != named[1]:
                        number = named[1]
            finally:
                store.close()
        if number is not None:
            raise ArgumentError("the run", run_id, f"a run id without a revision: it is all of the run {name!r}")
        return name

    # ---- removing

    def remove(self, run_id: str) -> None:
        """Remove a run from the list: it can no longer be resumed, rewound or forked; nothing of it is lost.

        Its id stays taken, and what was forked from it stays whole.

        Parameters
        ----------
        run_id : str

        Raises
        ------
        RunNotFoundError
            If there is none; names the nearest.
        RunBusyError
            If it is being written.
        StoreError
            If the folder cannot be written.
        """
        set_removed(self._folder, self._whole(run_id), True)

    def restore(self, run_id: str) -> None:
        """Bring back a run that was removed.

        Raises
        ------
        RunNotFoundError, RunBusyError, StoreError
            As for `remove`.
        TrackerError
            If it was purged.
        """
        set_removed(self._folder, self._whole(run_id), False)

    def purge(self, run_id: str, *, now: bool = True) -> Purged:
        """Delete a run: its rows, lines, artifacts and simulations, as far as no other run sees them.

        What was forked from it sees exactly what it saw: rows up to the step it was forked at, and all that is beside
        them, stay until the last of these runs is purged, too.

        Parameters
        ----------
        run_id : str
            One that was removed, or was not.
        now : bool
            False only tells what would be deleted.

        Returns
        -------
        purged : Purged
            How much was deleted, and what stays for whom. If nothing stays, the id is free again.

        Raises
        ------
        RunNotFoundError, RunBusyError, StoreError
            As for `remove`.

        Notes
        -----
        All or nothing in the database, and then the files: those that a crash leaves are named by `fsck` and deleted
        by the next `purge`. The database does not shrink; it fills the room with what comes next.
        """
        return purge(self._folder, self._whole(run_id, for_good=True), now)

    # ---- comparing

    def diff(self, a: str, b: str) -> RunDifference:
        """Compare two runs: their configs, the step at which their rows part, and their summaries.

        Parameters
        ----------
        a, b : str
            ``ID``, ``ID@REV``, or a digest, as for `run`.

        Returns
        -------
        difference : RunDifference
            Its `config` has what differs, `step` and `rows` the first row that does, `summary` both summaries side by
            side; `same` is whether nothing differs.

        Raises
        ------
        RunNotFoundError, ArgumentError
            As for `run`.

        Notes
        -----
        O(rows after the past that both have in common).
        """
        store = Store(self._folder)
        try:
            with understood(store.path), store.snapshot():
                return difference(store, *(find(store, *reference(one), removed=True).record for one in (a, b)))
        finally:
            store.close()

    # ---- checking

    def fsck(self, *, replay: Callable[[Revision], object] | None = None, progress: ProgressOption = None) -> Report:
        """Check all there is: the database, every row, digest, summary, artifact and simulation. Nothing is changed.

        Parameters
        ----------
        replay : callable, optional
            ``replay(revision)`` is called for each revision that has a simulation, and gives it the step function, by
            ``revision.attach(step_fn)``. Then its history is regenerated, and compared byte for byte.
        progress : callable or bool, optional
            As for `rewind.record`; counts revisions.

        Returns
        -------
        report : Report
            ``report.ok``, and what is wrong, with the first row where that is known.

        Raises
        ------
        StoreError, StoreVersionError
            If the folder cannot be read at all.

        Notes
        -----
        O(rows, and bytes of artifacts and simulations): every row is read once, however many revisions see it; with
        `replay`, once more for each that does.
        """
        return fsck(self._folder, replay=replay, progress=progress)

    # ---- export and import

    def export(self, run_id: str, path: str | os.PathLike[str]) -> None:
        """Write all of a run to one file: its revisions and those it comes from, simulations, artifacts, lines.

        Parameters
        ----------
        run_id : str
        path : str or path-like
            Replaced if it is there; written whole or not at all.

        Raises
        ------
        RunNotFoundError
            If there is none; names the nearest.
        RunBusyError
            If it, or what it comes from, is being written.
        TrackerError
            If it was purged.
        StoreError, StoreDamagedError, ArtifactError
            If something of it cannot be read, or the file cannot be written.

        Notes
        -----
        A zip file of JSON lines and of files as they are; the same run gives the same bytes. `import_file` reads it.
        """
        export(self._folder, self._whole(run_id), path)

    def import_file(self, path: str | os.PathLike[str], *, id: str | None = None) -> list[str]:
        """Add what `export` wrote.

        Parameters
        ----------
        path : str or path-like
        id : str, optional
            What the run is called here. Its digests, which are over what it was called there, stay.

        Returns
        -------
        run_ids : list of str
            The runs of which something is new here, the exported one first: empty if all of it was here. Runs that it
            comes from are kept as removed ones: not listed, and seen by it.

        Raises
        ------
        ArtifactFormatError, ArtifactIntegrityError, ArtifactVersionError
            If the file is damaged or altered, or of a later version. Every digest is computed again, and nothing is
            unpickled or run; nothing has changed here.
        RunExistsError
            If there is another run of that id, which has not even its first revision in common with this one.
        TrackedArtifactError
            If there is another artifact of that name and version.
        RunBusyError
            If the run is being written here.
        ArtifactIOError, StoreError
            If it cannot be read, or the folder cannot be written.

        Notes
        -----
        A run that went on in two folders is imported as another lineage of what both have in common: revisions that are
        not here get the next numbers, and keep their digests, which tell them apart; the run stands where it stood. If
        the file goes on where the run stands here, it stands at the newest of the file.
        """
        return import_bundle(self._folder, path, id)

    def import_history(
        self,
        path: str | os.PathLike[str],
        *,
        id: str | None = None,
        name: str | None = None,
        project: str | None = None,
        step: str | None = None,
    ) -> list[str]:
        """Add runs that other programs logged.

        Parameters
        ----------
        path : str or path-like
            A CSV file; an event file of TensorBoard, or a folder with such files, of which each folder below is a run;
            a folder that W&B's client wrote offline, its ``.wandb`` file, or a folder with several of them.
        id : str, optional
            Id of the run. Default: that which it had; for a CSV file and event files one made of their content, so that
            the same file is the same run.
        name, project : str, optional
            Labels. Default: what the run had; for a CSV file the name of the file, for event files that of the folder.
        step : str, optional
            The column of a CSV file that has the steps. Default: ``_step``, ``step``, ``Step``, ``global_step``,
            ``trainer/global_step`` or ``iteration``, else the number of the row, from 0 on.

        Returns
        -------
        run_ids : list of str
            The runs that are new here.

        Raises
        ------
        ArtifactFormatError, ArtifactIntegrityError, ArtifactIOError
            If it is nothing of the kind, damaged, or cannot be read. The run that it is about is not there then.
        RunExistsError
            If there is another run of that id.
        ArgumentError, ArgumentTypeError
            If an argument is invalid; an id or a name for several runs.
        StoreError
            If the folder cannot be written.

        Warns
        -----
        LeftOutWarning
            Names what cannot be kept of a run.

        Notes
        -----
        Nothing but numpy is needed, and nothing is run that the files name. Rows have one value for each name: of two
        at the same step the later one counts. What imported runs lack is a simulation: a rewind keeps their rows.
        """
        return import_histories(self._folder, path, id, name, project, step)

    def __iter__(self) -> Iterator[Revision]:
        return iter(self.runs())

    def __getitem__(self, run_id: str) -> Revision:
        return self.run(run_id)

    def __len__(self) -> int:
        return len(self.runs())

    def __repr__(self) -> str:
        return f"<Tracker {self._folder}: {len(self)} runs>"
