"""Each method of the example server, called by grpcurl with the .proto files."""

import json

from .core import tail

USERS, ORDERS = "example.v1.UserService", "example.v1.OrderService"
FILES = {USERS: "example/v1/users.proto", ORDERS: "example/v1/orders.proto"}


class Calls:
    def __init__(self, report, words, address):
        self.report, self.words, self.address = report, words, address

    def call(self, method, *requests):
        """Exit code, the replies, and the output."""
        service = method.partition("/")[0]
        words = [*self.words, "-proto", FILES[service], "-d", "@", self.address, method]
        code, output = self.report.command(words, seconds=60, input_text="\n".join(map(json.dumps, requests)))
        replies, decoder, rest = [], json.JSONDecoder(), output.strip()
        while rest.startswith("{"):
            reply, end = decoder.raw_decode(rest)
            replies.append(reply)
            rest = rest[end:].strip()
        return code, replies, output

    def answers(self, name, method, requests, expectation):
        """One check: the call succeeds and its replies are as they should be."""
        code, replies, output = self.call(method, *requests)
        try:
            good = code == 0 and expectation(replies)
        except (IndexError, KeyError, TypeError) as error:
            good, output = False, f"{error!r}\n{output}"
        self.report.check(f"grpcurl {method.partition('/')[2]}: {name}", good, f"exit code {code}\n{tail(output)}")
        return replies

    def refuses(self, name, method, requests, code_name, text):
        """One check: the call ends with this status and a reason that says `text`."""
        code, _, output = self.call(method, *requests)
        good = code != 0 and f"Code: {code_name}" in output and text in output
        self.report.check(f"grpcurl {method.partition('/')[2]}: {name}", good, f"exit code {code}\n{tail(output)}")


def run(report, words, address):
    calls = Calls(report, words, address)
    users(calls)
    orders(calls)


def users(calls):
    def create(name):
        return {"name": name, "email": f"{name}@example.org", "labels": {"team": "core"}}

    made = calls.answers("makes a user", f"{USERS}/CreateUser", [create("ada")],
                         lambda replies: replies[0]["role"] == "ROLE_MEMBER" and replies[0]["labels"] == {"team": "core"})
    if not made:
        return
    ada = made[0]["id"]
    calls.refuses("an address that is taken", f"{USERS}/CreateUser", [create("ada")], "AlreadyExists", "ada@example.org")
    calls.refuses("says which rules are broken", f"{USERS}/CreateUser", [{"email": "nobody"}], "InvalidArgument", "name must have 1 to 100 characters")
    calls.refuses("has details for programs", f"{USERS}/CreateUser", [{"name": "bob", "email": "nobody"}], "InvalidArgument", "google.rpc.BadRequest")
    calls.answers("finds the user", f"{USERS}/GetUser", [{"id": ada}], lambda replies: replies[0]["email"] == "ada@example.org")
    calls.refuses("an unknown id", f"{USERS}/GetUser", [{"id": 999999}], "NotFound", "999999")
    calls.answers("changes what the mask names", f"{USERS}/UpdateUser",
                  [{"user": {"id": ada, "name": "Ada L.", "nickname": ""}, "updateMask": {"paths": ["name", "nickname"]}}],
                  lambda replies: replies[0]["name"] == "Ada L." and replies[0]["nickname"] == "" and replies[0]["email"] == "ada@example.org")
    calls.refuses("a field that nobody can change", f"{USERS}/UpdateUser", [{"user": {"id": ada}, "updateMask": {"paths": ["id"]}}], "InvalidArgument", "update_mask")
    calls.answers("takes a stream of users", f"{USERS}/UploadUsers", [{"user": create("bob")}, {"user": {"name": "x"}}, {"user": create("cyd")}],
                  lambda replies: len(replies[0]["createdIds"]) == 2 and replies[0]["failures"][0]["index"] == "1")
    calls.answers("pages of one", f"{USERS}/ListUsers", [{"pageSize": 1, "filter": {"labels": {"team": "core"}}}],
                  lambda replies: [page["users"][0]["name"] for page in replies] == ["Ada L.", "bob", "cyd"])
    calls.refuses("a page that is too large", f"{USERS}/ListUsers", [{"pageSize": 1001}], "InvalidArgument", "page_size")
    calls.answers("known and unknown ids", f"{USERS}/BatchGetUsers", [{"ids": [ada, 999999]}],
                  lambda replies: list(replies[0]["users"]) == [ada] and replies[0]["missingIds"] == ["999999"])
    calls.answers("one hears oneself", f"{USERS}/Chat", [{"join": {"room": "lobby", "userId": ada}}, {"text": "hello"}, {"leave": {}}],
                  lambda replies: [event.get("joined") or event.get("text") or event.get("left") for event in replies] == ["Ada L.", "hello", "Ada L."])
    calls.refuses("who speaks must have joined", f"{USERS}/Chat", [{"text": "hello"}], "InvalidArgument", "join")
    calls.answers("removes the user", f"{USERS}/DeleteUser", [{"id": ada}], lambda replies: replies == [{}])
    calls.refuses("nobody is removed twice", f"{USERS}/DeleteUser", [{"id": ada}], "NotFound", ada)


def orders(calls):
    buyer = calls.answers("makes the buyer", f"{USERS}/CreateUser", [{"name": "eve", "email": "eve@example.org"}], lambda replies: replies[0]["id"])
    if not buyer:
        return

    def order(**changes):
        items = [{"sku": "tea", "quantity": 3, "unitPrice": {"currency": "EUR", "minorUnits": 250}}]
        return {"userId": buyer[0]["id"], "items": items, "pickUpAt": "corner shop"} | changes

    placed = calls.answers("adds up", f"{ORDERS}/CreateOrder", [order(note="ring twice")],
                           lambda replies: replies[0]["total"] == {"currency": "EUR", "minorUnits": "750"} and replies[0]["status"] == "ORDER_STATUS_PLACED")
    calls.refuses("nothing to buy", f"{ORDERS}/CreateOrder", [order(items=[])], "InvalidArgument", "items must have 1 to 100 lines")
    calls.refuses("an unknown buyer", f"{ORDERS}/CreateOrder", [order(userId=999999)], "NotFound", "999999")
    if not placed:
        return
    number = placed[0]["id"]
    calls.answers("finds the order", f"{ORDERS}/GetOrder", [{"id": number}], lambda replies: replies[0]["note"] == "ring twice")
    calls.refuses("an unknown order", f"{ORDERS}/GetOrder", [{"id": 999999}], "NotFound", "999999")
    states = [f"ORDER_STATUS_{state}" for state in ("PLACED", "PAID", "SHIPPED", "DELIVERED")]
    calls.answers("follows it to the end", f"{ORDERS}/WatchOrder", [{"id": number, "pace": "0.02s"}],
                  lambda replies: [update["status"] for update in replies] == states and [update["sequence"] for update in replies] == ["1", "2", "3", "4"])
    calls.answers("of a delivered order only the end", f"{ORDERS}/WatchOrder", [{"id": number}],
                  lambda replies: [update["status"] for update in replies] == states[-1:])
    calls.refuses("a pace that nobody waits for", f"{ORDERS}/WatchOrder", [{"id": number, "pace": "61s"}], "InvalidArgument", "pace")
