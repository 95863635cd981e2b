"""What is said, and done first, when a process of a run has died that should not have."""

from __future__ import annotations

from grpo_launch.errors import ServerDiedError
from grpo_launch.execute.ended import because, status_of
from grpo_launch.execute.processes import Processes
from grpo_launch.execute.surroundings import Surroundings
from grpo_launch.execute.tails import Tails
from grpo_launch.plan import SERVER, called
from grpo_launch.supervise.process import GuardedProcess


class Deaths:
    """Makes the errors of one attempt; all its processes are being stopped from then on.

    Args:
        around: what the attempts share.
        processes: of the attempt.
        tails: of their logs.
    """

    def __init__(self, around: Surroundings, processes: Processes, tails: Tails) -> None:
        self._plan = around.plan
        self._processes = processes
        self.tails = tails

    def of_server(self, name: str, server: GuardedProcess) -> ServerDiedError:
        """The error for a server that has ended under the job."""
        under = called(self._plan.job or "")
        status = status_of(server)
        what = f"{called(name)} died under {under} (status {status})"
        return self._death(name, what, status)

    def of_itself(self, name: str) -> ServerDiedError:
        """The error for a server that has ended with status 0, which no server does by itself."""
        return self._death(name, f"{called(name)} ended, though nobody stopped it (status 0)", 1)

    def of_engine(self, name: str, which: str = "") -> ServerDiedError:
        """The error for a server whose engine has ended behind it."""
        whose = "" if name == SERVER else f" of {name}"
        what = f"the engine{whose} died{which}, though its server is still there"
        return self._death(name, what, 1)

    def elsewhere(self, name: str, what: str) -> ServerDiedError:
        """The error for a server of another launcher."""
        url = next(gate.url for gate in self._plan.gates if gate.server == name)
        return ServerDiedError(url, f"{called(name)} {what}", "look at that server's own terminal")

    def check_engines(self) -> None:
        """See whether the processes live that engines cannot do without.

        Raises:
            ServerDiedError: one has ended.
        """
        if (lost := self._processes.lost) is not None:
            raise self.of_engine(lost.server, f" ({lost.title})")

    def _death(self, name: str, what: str, status: int) -> ServerDiedError:
        end = self.tails.end(name)  # before the end is asked for, which may be logged at length
        self._processes.stop()  # and before anything is made of it or told
        what = because(what, self.tails.why(name, status, end))
        self.tails.say(name, end)
        others = f"; {called(self._plan.job)} has been stopped" if self._plan.job else ""
        fix = f"its last lines are above{others}"
        return ServerDiedError(self.tails.log(name), what, fix)
