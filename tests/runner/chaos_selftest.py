"""Made-up chaos runs, each with one thing wrong, before the judge of the real ones."""

from dataclasses import replace

from .chaos_report import MILLISECOND, SECOND, Call, Fault, judge

BEGIN = 1_800_000_000 * SECOND
RATE, SECONDS = 2000, 20
SERVERS = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
FAULTS = KILL, STOP, DRAIN = [
    Fault("kill", SERVERS[0], BEGIN + 4 * SECOND), Fault("stop", SERVERS[1], BEGIN + 9 * SECOND), Fault("drain", SERVERS[2], BEGIN + 14 * SECOND),
]

TWICE = "no call is executed twice"
INVENTED = "every call that succeeded was executed"
UNKNOWN = "every call that was executed is reported"
FAILURES = "only calls in flight at a kill fail"
RATE_KEPT = "the client keeps its rate"
ONCE = "every call is reported once"
NOISE = "undisturbed windows are normal"


def _normal(fault):
    return f"p99 is normal 2 s after the {fault.kind} of {fault.endpoint}"


class Run:
    """A run in which everything goes well, for as long as nobody spoils it."""

    def __init__(self):
        step = SECOND // RATE
        due = [BEGIN + number * step for number in range(RATE * SECONDS)]
        self.calls = [Call(number, start, start + MILLISECOND, 0, 1, SERVERS[number % 3]) for number, start in enumerate(due)]
        self.journals = [[call.id for call in self.calls if call.endpoint == server] for server in SERVERS]

    def at(self, fault, milliseconds):
        """A call to the fault's server that was due so long after it."""
        return next(call.id for call in self.calls if call.endpoint == fault.endpoint and call.start_ns >= fault.at_ns + milliseconds * MILLISECOND)

    def change(self, number, **changes):
        self.calls[number] = replace(self.calls[number], **changes)

    def fail(self, number, *, after_ms=1, executed=True):
        call = self.calls[number]
        self.change(number, code=14, end_ns=call.start_ns + after_ms * MILLISECOND)
        if not executed:
            self.journals[SERVERS.index(call.endpoint)].remove(number)

    def slow(self, fault, first_ms, last_ms, latency_ms=500):
        """Every call due in that time after the fault is late."""
        for call in list(self.calls):
            if fault.at_ns + first_ms * MILLISECOND <= call.start_ns < fault.at_ns + last_ms * MILLISECOND:
                self.change(call.id, end_ns=call.start_ns + latency_ms * MILLISECOND)

    def lose(self, first_s, last_s):
        """The client makes no calls for a time."""
        gone = {call.id for call in self.calls if first_s * SECOND <= call.start_ns - BEGIN < last_s * SECOND}
        self.calls = [call for call in self.calls if call.id not in gone]
        self.journals = [[number for number in journal if number not in gone] for journal in self.journals]

    def failed_checks(self):
        return [name for name, good, _ in judge(self.calls, self.journals, FAULTS, RATE * SECONDS).checks if not good]


def run(report):
    for spoil, wanted in SPOILT:
        spoilt = Run()
        spoil(spoilt)
        failed = spoilt.failed_checks()
        report.check(f"the judge of chaos: {spoil.__name__.replace('_', ' ')}", failed == wanted, f"{failed} instead of {wanted}")


def a_good_run_passes(_run):
    pass


def a_call_in_flight_at_a_kill_may_fail(run):
    run.fail(run.at(KILL, -1), after_ms=2)


def a_call_in_flight_at_a_kill_may_have_been_lost_before_it_ran(run):
    run.fail(run.at(KILL, -1), after_ms=2, executed=False)


def a_call_on_another_server_may_not_fail_at_a_kill(run):
    number = run.at(KILL, -1)
    run.fail(number + 1, after_ms=2)


def a_call_begun_after_a_kill_may_not_fail(run):
    run.fail(run.at(KILL, 100))


def a_call_may_not_fail_at_a_stop(run):
    run.fail(run.at(STOP, -1), after_ms=2)


def a_call_may_not_fail_at_a_drain(run):
    run.fail(run.at(DRAIN, -1), after_ms=2)


def a_call_executed_on_two_servers_is_found(run):
    run.journals[1].append(run.journals[0][7])


def a_call_executed_twice_on_one_server_is_found(run):
    run.journals[2].append(run.journals[2][7])


def a_success_without_an_execution_is_found(run):
    run.journals[0].pop()


def an_execution_without_a_call_is_found(run):
    run.journals[0].append(RATE * SECONDS + 1)


def a_call_reported_twice_is_found(run):
    run.calls.append(run.calls[5])


def two_slow_seconds_after_each_fault_are_allowed(run):
    for fault in FAULTS:
        run.slow(fault, 0, 2000)


def a_third_slow_second_is_not(run):
    run.slow(STOP, 0, 3000)


def a_slow_server_is_found_though_the_others_are_fast(run):
    for call in list(run.calls):
        if call.endpoint == STOP.endpoint and STOP.at_ns <= call.start_ns < STOP.at_ns + 3 * SECOND:
            run.change(call.id, end_ns=call.start_ns + SECOND)


def one_late_call_in_a_hundred_is_no_slow_window(run):
    for call in list(run.calls)[::101]:
        run.change(call.id, end_ns=call.start_ns + SECOND)


def a_lone_slow_window_is_noise(run):
    run.slow(KILL, 3500, 3600)


def a_slow_window_right_after_the_recovery_is_noise(run):
    run.slow(KILL, 2000, 2100)


def slowness_without_a_fault_is_found(run):
    run.slow(KILL, -2500, -500)


def a_client_that_rests_is_found(run):
    run.lose(2, 3)


SPOILT = [
    (a_good_run_passes, []),
    (a_call_in_flight_at_a_kill_may_fail, []),
    (a_call_in_flight_at_a_kill_may_have_been_lost_before_it_ran, []),
    (a_call_on_another_server_may_not_fail_at_a_kill, [FAILURES]),
    (a_call_begun_after_a_kill_may_not_fail, [FAILURES]),
    (a_call_may_not_fail_at_a_stop, [FAILURES]),
    (a_call_may_not_fail_at_a_drain, [FAILURES]),
    (a_call_executed_on_two_servers_is_found, [TWICE]),
    (a_call_executed_twice_on_one_server_is_found, [TWICE]),
    (a_success_without_an_execution_is_found, [INVENTED]),
    (an_execution_without_a_call_is_found, [UNKNOWN]),
    (a_call_reported_twice_is_found, [ONCE]),
    (two_slow_seconds_after_each_fault_are_allowed, []),
    (a_third_slow_second_is_not, [NOISE, _normal(STOP)]),
    (a_slow_server_is_found_though_the_others_are_fast, [NOISE, _normal(STOP)]),
    (one_late_call_in_a_hundred_is_no_slow_window, []),
    (a_lone_slow_window_is_noise, []),
    (a_slow_window_right_after_the_recovery_is_noise, []),
    (slowness_without_a_fault_is_found, [NOISE]),
    (a_client_that_rests_is_found, [RATE_KEPT, NOISE]),
]
