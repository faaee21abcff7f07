#!/usr/bin/env python3
"""Python's grpcio calls each method of the example server.

    example_calls.py HOST:PORT PROTO_ROOT
"""

import queue
import sys
import uuid

import grpc
from google.protobuf import duration_pb2, field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import protos
from checks import check, equal, finish

SECONDS = 20
USERS_UPLOADED = 2500


class Example:
    def __init__(self, address, root):
        (self.users_pb, users_stub), (self.orders_pb, orders_stub) = protos.load(root, "example/v1/users.proto", "example/v1/orders.proto")
        self.channel = grpc.insecure_channel(address)
        # Calls of a second connection may well be served by another worker: what they share must still be seen.
        self.other = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.users, self.orders = users_stub.UserServiceStub(self.channel), orders_stub.OrderServiceStub(self.channel)
        self.users_elsewhere = users_stub.UserServiceStub(self.other)
        self.run = uuid.uuid4().hex[:8]

    def properties(self, name, **others):
        return self.users_pb.CreateUserRequest(name=name, email=f"{name}-{self.run}@example.org", labels={"run": self.run}, **others)

    def make(self, name, **others):
        return self.users.CreateUser(self.properties(name, **others), timeout=SECONDS)

    def refused(self, code, call):
        try:
            reply = call()
            if hasattr(reply, "__next__"):
                list(reply)
        except grpc.RpcError as error:
            equal(error.code(), code, "status")
            return error
        raise AssertionError(f"the call succeeded instead of ending with {code}")

    # Users

    def create_and_get(self):
        ada = self.make("ada", nickname="")
        equal((ada.role, ada.HasField("nickname"), ada.nickname), (self.users_pb.ROLE_MEMBER, True, ""), "defaults")
        for stub in (self.users, self.users_elsewhere):
            equal(stub.GetUser(self.users_pb.GetUserRequest(id=ada.id), timeout=SECONDS), ada, "the user")
        error = self.refused(grpc.StatusCode.ALREADY_EXISTS, lambda: self.make("ada"))
        equal("ada" in error.details(), True, "reason")
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: self.users.GetUser(self.users_pb.GetUserRequest(id=1 << 60), timeout=SECONDS))

    def invalid_arguments_are_explained(self):
        faulty = self.users_pb.CreateUserRequest(name="", email="nobody", role=77)
        error = self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.users.CreateUser(faulty, timeout=SECONDS))
        status = rpc_status.from_call(error)
        details = error_details_pb2.BadRequest()
        equal(status.details[0].Unpack(details), True, "the detail is a BadRequest")
        equal([violation.field for violation in details.field_violations], ["name", "email", "role"], "fields")
        equal(status.message, error.details(), "both texts")

    def update(self):
        user = self.make("upd", nickname="before")
        user.name, user.email = "after", "ignored@example.org"
        user.ClearField("nickname")
        request = self.users_pb.UpdateUserRequest(user=user, update_mask=field_mask_pb2.FieldMask(paths=["name", "nickname"]))
        updated = self.users.UpdateUser(request, timeout=SECONDS)
        equal((updated.name, updated.HasField("nickname")), ("after", False), "changed fields")
        equal(updated.email, f"upd-{self.run}@example.org", "a field outside of the mask")
        request.update_mask.paths[:] = ["created_at"]
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.users.UpdateUser(request, timeout=SECONDS))

    def delete_and_batch_get(self):
        gone, kept = self.make("gone"), self.make("kept")
        self.users.DeleteUser(self.users_pb.DeleteUserRequest(id=gone.id), timeout=SECONDS)
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: self.users.DeleteUser(self.users_pb.DeleteUserRequest(id=gone.id), timeout=SECONDS))
        batch = self.users.BatchGetUsers(self.users_pb.BatchGetUsersRequest(ids=[gone.id, kept.id]), timeout=SECONDS)
        equal((dict(batch.users), list(batch.missing_ids)), ({kept.id: kept}, [gone.id]), "known and missing")

    def upload_and_list(self):
        def requests():
            for number in range(USERS_UPLOADED):
                name = "" if number == 7 else f"u{number}"
                yield self.users_pb.UploadUsersRequest(user=self.properties(name, role=self.users_pb.ROLE_GUEST))

        done = self.users.UploadUsers(requests(), timeout=SECONDS)
        equal(len(done.created_ids), USERS_UPLOADED - 1, "users made")
        equal([(failure.index, "name" in failure.reason) for failure in done.failures], [(7, True)], "failures")
        asked = self.users_pb.ListUsersRequest(page_size=100, filter=self.users_pb.UserFilter(role=self.users_pb.ROLE_GUEST, labels={"run": self.run}))
        pages = [[user.id for user in page.users] for page in self.users_elsewhere.ListUsers(asked, timeout=SECONDS)]
        equal([len(page) for page in pages], [100] * (USERS_UPLOADED // 100 - 1) + [99], "pages")
        equal(sum(pages, []), list(done.created_ids), "users, oldest first")
        asked.page_size = 1001
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.users.ListUsers(asked, timeout=SECONDS))

    def chat(self):
        class Guest:
            def __init__(self, stub, pb, user, room):
                self.actions, self.pb = queue.Queue(), pb
                self.events = stub.Chat(iter(self.actions.get, None), timeout=SECONDS)
                self.do(join=pb.ChatJoin(room=room, user_id=user.id))

            def do(self, **action):
                self.actions.put(self.pb.ChatRequest(**action))

            def hears(self, kind, text):
                event = next(self.events)
                equal((event.WhichOneof("event"), getattr(event, event.WhichOneof("event"))), (kind, text), "event")

        room = f"room {self.run}"
        one, two = self.make("one"), self.make("two")
        first = Guest(self.users, self.users_pb, one, room)
        first.hears("joined", "one")
        second = Guest(self.users_elsewhere, self.users_pb, two, room)
        second.hears("joined", "two")
        first.hears("joined", "two")
        for number in range(50):
            speaker, listener = (first, second) if number % 2 else (second, first)
            speaker.do(text=f"hello {number}")
            speaker.hears("text", f"hello {number}")
            listener.hears("text", f"hello {number}")
        second.events.cancel()  # gone without a word
        first.hears("left", "two")
        first.do(leave={})
        first.hears("left", "one")
        equal(list(first.events), [], "events after the last")
        first.actions.put(None)
        second.actions.put(None)

    def chat_begins_with_a_join(self):
        actions = iter([self.users_pb.ChatRequest(text="hello")])
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.users.Chat(actions, timeout=SECONDS))
        actions = iter([self.users_pb.ChatRequest(join=self.users_pb.ChatJoin(room="r", user_id=1 << 60))])
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: self.users.Chat(actions, timeout=SECONDS))

    # Orders

    def order(self, user, quantity):
        price = self.orders_pb.Money(currency="EUR", minor_units=250)
        return self.orders_pb.CreateOrderRequest(user_id=user.id, pick_up_at="corner shop",
                                                 items=[self.orders_pb.OrderItem(sku="tea", quantity=quantity, unit_price=price)])

    def create_and_get_order(self):
        buyer = self.make("buyer")
        order = self.orders.CreateOrder(self.order(buyer, 3), timeout=SECONDS)
        equal((order.total.currency, order.total.minor_units, order.WhichOneof("delivery")), ("EUR", 750, "pick_up_at"), "the order")
        equal(self.orders.GetOrder(self.orders_pb.GetOrderRequest(id=order.id), timeout=SECONDS).id, order.id, "the id")
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.orders.CreateOrder(self.order(buyer, 0), timeout=SECONDS))
        buyer.id = 1 << 60
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: self.orders.CreateOrder(self.order(buyer, 1), timeout=SECONDS))
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: self.orders.GetOrder(self.orders_pb.GetOrderRequest(id=1 << 60), timeout=SECONDS))

    def watch_order(self):
        order = self.orders.CreateOrder(self.order(self.make("watcher"), 1), timeout=SECONDS)
        request = self.orders_pb.WatchOrderRequest(id=order.id, pace=duration_pb2.Duration(nanos=5_000_000))
        watchers = [self.orders.WatchOrder(request, timeout=SECONDS) for _ in range(3)]
        for watcher in watchers:
            updates = list(watcher)
            # Who came late begins late, but nobody misses one in between.
            numbers = [update.sequence for update in updates]
            equal(numbers, list(range(numbers[0], 5)), "sequence")
            equal(updates[-1].status, self.orders_pb.ORDER_STATUS_DELIVERED, "the end")
        self.refused(grpc.StatusCode.NOT_FOUND, lambda: self.orders.WatchOrder(self.orders_pb.WatchOrderRequest(id=1 << 60), timeout=SECONDS))

    def deadline_and_cancellation(self):
        order = self.orders.CreateOrder(self.order(self.make("hurry"), 1), timeout=SECONDS)
        request = self.orders_pb.WatchOrderRequest(id=order.id, pace=duration_pb2.Duration(seconds=60))
        self.refused(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: self.orders.WatchOrder(request, timeout=0.2))
        watcher = self.orders.WatchOrder(request, timeout=SECONDS)
        next(watcher)
        watcher.cancel()
        self.refused(grpc.StatusCode.CANCELLED, lambda: watcher)

    def unknown_method(self):
        call = self.channel.unary_unary("/example.v1.UserService/Nothing")
        self.refused(grpc.StatusCode.UNIMPLEMENTED, lambda: call(b"", timeout=SECONDS))


def main():
    address, root = sys.argv[1:]
    example = Example(address, root)
    for test in (
        example.create_and_get, example.invalid_arguments_are_explained, example.update, example.delete_and_batch_get,
        example.upload_and_list, example.chat, example.chat_begins_with_a_join, example.create_and_get_order,
        example.watch_order, example.deadline_and_cancellation, example.unknown_method,
    ):
        check(test.__name__, test)
    finish()


if __name__ == "__main__":
    main()
