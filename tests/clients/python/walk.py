"""The life of an application, walked with the Python package `svix` against a running Postrider.

The same program runs with both major versions of the package. It finds the server in POSTRIDER_URL and an operator's
token of an organisation of its own in POSTRIDER_TOKEN. The first thing that is not as it should be ends it with 1.
"""

import os
import time
from datetime import datetime, timedelta, timezone

from receiver import Receiver
from svix import models
from svix.api import (
    ApplicationListOptions,
    EndpointGetStatsOptions,
    EventTypeDeleteOptions,
    EventTypeListOptions,
    MessageAttemptListByEndpointOptions,
    MessageAttemptListByMsgOptions,
    MessageCreateOptions,
    MessageGetOptions,
    MessageListOptions,
    Svix,
    SvixOptions,
)
from svix.api.message import message_in_raw
from svix.exceptions import HttpError, HTTPValidationError, WebhookVerificationError
from svix.webhooks import Webhook

URL = os.environ["POSTRIDER_URL"]
TOKEN = os.environ["POSTRIDER_TOKEN"]
PATIENCE = 60


def client(token):
    return Svix(token, SvixOptions(server_url=URL))


def step(name):
    print(f"- {name}", flush=True)


def same(got, wanted):
    assert got == wanted, f"got {got!r} instead of {wanted!r}"


def eventually(what, ask):
    """Asks until there is an answer: what is delivered is logged a little later."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for {what}")


def refused(status, code, call):
    """The call must fail with this status and code, as an error of the package's own class."""
    try:
        answer = call()
    except HttpError as error:
        same((error.status_code, error.code), (status, code))
        assert error.detail, "an error without detail"
        return
    raise AssertionError(f"expected {status}, got {answer!r}")


def invalid(field, call):
    try:
        answer = call()
    except HTTPValidationError as error:
        same(error.status_code, 422)
        same(error.detail[0].loc[-1], field)
        assert error.detail[0].msg and error.detail[0].type, "an error that says nothing"
        return
    raise AssertionError(f"expected 422, got {answer!r}")


def version_2_or_1(resource, new, old):
    """Version 2 renamed some methods."""
    return getattr(resource, new, None) or getattr(resource, old)


# Version 1 calls the filter of an endpoint by its old name.
EVENT_TYPES = "event_types" if "event_types" in models.EndpointIn.model_fields else "filter_types"


def applications(svix):
    step("applications")
    wanted = models.ApplicationIn(name="Shop", uid="shop", metadata={"plan": "gold"})
    app = svix.application.get_or_create(wanted)
    same((app.name, app.uid, app.metadata), ("Shop", "shop", {"plan": "gold"}))
    same(svix.application.get_or_create(wanted).id, app.id)
    same(svix.application.get("shop").id, app.id)
    refused(409, "conflict", lambda: svix.application.create(wanted))
    put = version_2_or_1(svix.application, "upsert", "update")
    same(put("other", models.ApplicationIn(name="Other", uid="other")).uid, "other")
    page = svix.application.list(ApplicationListOptions(limit=1))
    same(([one.id for one in page.data], page.done), ([app.id], False))
    rest = svix.application.list(ApplicationListOptions(limit=1, iterator=page.iterator))
    same(([one.uid for one in rest.data], rest.done), (["other"], True))
    return app


def event_types(svix):
    step("event types")
    schema = {"1": {"type": "object", "examples": [{"order": 1}]}}
    wanted = models.EventTypeIn(name="order.paid", description="Paid", schemas=schema)
    made = svix.event_type.create(wanted)
    same((made.name, made.archived, made.deprecated), ("order.paid", False, False))
    same(svix.event_type.get("order.paid").schemas, schema)
    refused(409, "event_type_exists", lambda: svix.event_type.create(wanted))
    patched = svix.event_type.patch("order.paid", models.EventTypePatch(description="Money"))
    same((patched.description, patched.schemas), ("Money", schema))
    listed = svix.event_type.list(EventTypeListOptions(with_content=True))
    same([one.name for one in listed.data], ["order.paid"])


def endpoints(svix, receiver):
    step("endpoints and their headers")
    wanted = models.EndpointIn(
        url=receiver.url,
        uid="main",
        description="Till",
        channels=["eu"],
        metadata={"team": "till"},
        headers={"X-Shop": "7", "Authorization": "Bearer till"},
        **{EVENT_TYPES: ["order.paid"]},
    )
    made = svix.endpoint.create("shop", wanted)
    same((made.uid, made.channels, made.metadata), ("main", ["eu"], {"team": "till"}))
    same(getattr(made, EVENT_TYPES), ["order.paid"])
    invalid("channels", lambda: svix.endpoint.create("shop", models.EndpointIn(url=receiver.url, channels=[])))
    shown = svix.endpoint.get_headers("shop", "main")
    same((shown.headers, shown.sensitive), ({"X-Shop": "7"}, ["Authorization"]))
    change = models.EndpointHeadersPatchIn(headers={"X-Till": "3"}, delete_headers=["X-Shop"])
    svix.endpoint.patch_headers("shop", "main", change)
    same(svix.endpoint.get_headers("shop", "main").headers, {"X-Till": "3"})
    put = version_2_or_1(svix.endpoint, "set_headers", "update_headers")
    put("shop", "main", models.EndpointHeadersIn(headers={"X-Till": "4"}))
    shown = svix.endpoint.get_headers("shop", "main")
    same((shown.headers, shown.sensitive), ({"X-Till": "4"}, []))
    same([one.id for one in svix.endpoint.list("shop").data], [made.id])
    same(svix.endpoint.get("shop", "main").id, made.id)
    return made


def rotate(svix):
    step("a secret is rotated")
    old = svix.endpoint.get_secret("shop", "main").key
    answer = svix.endpoint.rotate_secret("shop", "main", models.EndpointSecretRotateIn())
    new = svix.endpoint.get_secret("shop", "main").key
    assert old != new, "the secret is the old one"
    # The first version of the package does not look at the answer.
    assert answer is None or answer.key == new, f"rotation answered {answer!r}"
    return [old, new]


def verify(request, secrets):
    for secret in secrets:
        Webhook(secret).verify(request.body, request.headers)
    try:
        Webhook(secrets[0]).verify(request.body + b" ", request.headers)
    except WebhookVerificationError:
        return
    raise AssertionError("a forged body was taken for genuine")


def message(n):
    return models.MessageIn(
        event_type="order.paid",
        event_id=f"order-{n}",
        payload={"order": n, "name": "Jürgen 👋"},
        channels=["eu"],
        tags=["till", f"n{n}"],
    )


def messages(svix, receiver, secrets):
    step("a message arrives, verified")
    keyed = MessageCreateOptions(idempotency_key="order-1", with_content=True)
    sent = svix.message.create("shop", message(1), keyed)
    same(svix.message.create("shop", message(1), keyed).id, sent.id)
    same((sent.event_id, sent.tags, sent.channels), ("order-1", ["till", "n1"], ["eu"]))
    same(sent.payload, message(1).payload)
    refused(409, "conflict", lambda: svix.message.create("shop", message(1)))
    request = receiver.next()
    same((request.headers["webhook-id"], request.headers["x-till"]), (sent.id, "4"))
    verify(request, secrets)
    step("messages are read")
    for key in (sent.id, "order-1"):
        read = svix.message.get("shop", key, MessageGetOptions(with_content=True))
        same((read.id, read.payload), (sent.id, message(1).payload))
    same(svix.message.get("shop", sent.id, MessageGetOptions(with_content=False)).payload, {})
    second = svix.message.create("shop", message(2))
    verify(receiver.next(), secrets)

    def newest():
        page = svix.message.list("shop", MessageListOptions(limit=1, tag="till"))
        return page if [one.id for one in page.data] == [second.id] else None

    page = eventually("the second message to be listed", newest)
    assert not page.done, "there is a first message, too"
    rest = svix.message.list("shop", MessageListOptions(limit=1, tag="till", iterator=page.iterator))
    same(([one.id for one in rest.data], rest.done), ([sent.id], True))
    kept = svix.message.list("shop", MessageListOptions(event_types=["order.paid"], tag="n2"))
    same([one.id for one in kept.data], [second.id])
    return sent


def attempts(svix, sent, endpoint):
    step("attempts are read")
    by_message = MessageAttemptListByMsgOptions(with_content=True)
    listed = eventually("an attempt", lambda: svix.message_attempt.list_by_msg("shop", sent.id, by_message).data)
    one = listed[0]
    same((one.msg_id, one.endpoint_id, one.response_status_code), (sent.id, endpoint.id, 200))
    same((int(one.status), int(one.trigger_type), one.response), (0, 0, "received"))
    assert one.response_duration_ms >= 0
    same(svix.message_attempt.get("shop", sent.id, one.id).id, one.id)
    first = MessageAttemptListByEndpointOptions(limit=1, status=models.MessageStatus.SUCCESS, with_msg=True)

    def pages():
        page = svix.message_attempt.list_by_endpoint("shop", "main", first)
        if page.done or not page.data:
            return None
        following = MessageAttemptListByEndpointOptions(limit=1, iterator=page.iterator)
        return page.data + svix.message_attempt.list_by_endpoint("shop", "main", following).data

    newer, older = eventually("attempts of both messages", pages)
    same((newer.msg.event_id, older.id), ("order-2", one.id))
    destinations = svix.message_attempt.list_attempted_destinations("shop", sent.id)
    same([(to.id, int(to.status)) for to in destinations.data], [(endpoint.id, 0)])
    tried = svix.message_attempt.list_attempted_messages("shop", "main")
    same([one.event_id for one in tried.data], ["order-2", "order-1"])
    return one


def resend(svix, receiver, secrets, sent):
    step("resend")
    svix.message_attempt.resend("shop", sent.id, "main")
    request = receiver.next()
    same(request.headers["webhook-id"], sent.id)
    verify(request, secrets)

    def by_hand():
        return [int(one.trigger_type) for one in svix.message_attempt.list_by_msg("shop", sent.id).data] == [1, 0]

    eventually("the attempt made by hand", by_hand)


def recover(svix, receiver, secrets):
    step("what failed is recovered")
    since = datetime.now(timezone.utc) - timedelta(hours=1)
    receiver.status = 500
    sent = svix.message.create("shop", message(3))

    def given_up():
        to = svix.message_attempt.list_attempted_destinations("shop", sent.id).data
        return to and int(to[0].status) == int(models.MessageStatus.FAIL) and to[0].next_attempt is None

    eventually("the message to be given up", given_up)
    receiver.status = 200
    receiver.forget()
    task = svix.endpoint.recover("shop", "main", models.RecoverIn(since=since))
    assert task.id.startswith("qtask_"), task
    request = receiver.next()
    same(request.headers["webhook-id"], sent.id)
    verify(request, secrets)

    def finished():
        read = svix.background_task.get(task.id)
        return read if read.status == "finished" else None

    same(eventually("the task to finish", finished).task, "endpoint.recover")


def statistics(svix):
    step("statistics")
    now = datetime.now(timezone.utc)
    range_ = EndpointGetStatsOptions(since=now - timedelta(days=1), until=now + timedelta(hours=1))

    def counted():
        stats = svix.endpoint.get_stats("shop", "main", range_)
        return (stats.success, stats.fail, stats.pending, stats.sending, stats.canceled) == (3, 0, 0, 0, 0)

    eventually("three messages to be counted", counted)
    range_ = EndpointGetStatsOptions(since=now - timedelta(days=60), until=now)
    refused(400, "invalid_range", lambda: svix.endpoint.get_stats("shop", "main", range_))


def example(svix, receiver, secrets):
    step("an example")
    sent = svix.endpoint.send_example("shop", "main", models.EventExampleIn(event_type="svix.ping"))
    request = receiver.next()
    same(request.headers["webhook-id"], sent.id)
    verify(request, secrets)


def as_text(svix, receiver, secrets):
    step("a payload that is text")
    text = '{ "order": 4.0 }'
    wanted = message_in_raw("order.paid", text)
    wanted.channels = ["eu"]
    sent = svix.message.create("shop", wanted)
    request = receiver.next()
    same((request.headers["webhook-id"], request.body), (sent.id, text.encode()))
    verify(request, secrets)


def portal(svix):
    step("the customer's own access")
    access = svix.authentication.app_portal_access("shop", models.AppPortalAccessIn(expiry=3600))
    assert access.url.endswith(access.token), access.url
    customer = client(access.token)
    same([one.uid for one in customer.endpoint.list("shop").data], ["main"])
    refused(403, "insufficient_access", customer.application.list)
    refused(404, "not_found", lambda: customer.endpoint.list("other"))
    customer.authentication.logout()

    def revoked():
        try:
            customer.endpoint.list("shop")
        except HttpError as error:
            same((error.status_code, error.code), (401, "authentication_failed"))
            return True
        return False

    eventually("the token to be revoked", revoked)


def patches(svix):
    step("absent keeps, null clears")
    patch = lambda **fields: svix.endpoint.patch("shop", "main", models.EndpointPatch(**fields))
    kept = patch(description="Till 2", throttle_rate=500)
    same((kept.description, kept.channels, kept.metadata), ("Till 2", ["eu"], {"team": "till"}))
    cleared = patch(channels=None, throttle_rate=None)
    same((cleared.channels, cleared.throttle_rate, cleared.uid), (None, None, "main"))
    same((cleared.description, cleared.metadata), ("Till 2", {"team": "till"}))
    invalid("url", lambda: patch(url=None))
    renamed = svix.application.patch("other", models.ApplicationPatch(name="Renamed"))
    same((renamed.name, renamed.uid), ("Renamed", "other"))
    same(svix.application.patch(renamed.id, models.ApplicationPatch(uid=None)).uid, None)
    svix.application.delete(renamed.id)


def errors(svix):
    step("errors")
    refused(401, "authentication_failed", client("nonsense").application.list)
    refused(404, "not_found", lambda: svix.application.get("nobody"))
    refused(404, "not_found", lambda: svix.message.get("shop", "msg_nothing"))
    svix.application.create(models.ApplicationIn(name="Slow", uid="slow", throttle_rate=1))
    sent = models.MessageIn(event_type="order.paid", payload={})

    def too_many():
        for _ in range(20):
            svix.message.create("slow", sent)

    refused(429, "rate_limited", too_many)


def deletions(svix, sent, attempt):
    step("deletions")
    svix.message_attempt.expunge_content("shop", sent.id, attempt.id)
    svix.message.expunge_content("shop", sent.id)
    read = svix.message.get("shop", sent.id, MessageGetOptions(with_content=True))
    same(read.payload, {"expired": True})
    refused(400, "missing_payload", lambda: svix.message_attempt.resend("shop", sent.id, "main"))
    svix.endpoint.delete("shop", "main")
    refused(404, "not_found", lambda: svix.endpoint.get("shop", "main"))
    svix.event_type.delete("order.paid", EventTypeDeleteOptions(expunge=True))
    refused(404, "not_found", lambda: svix.event_type.get("order.paid"))
    svix.application.delete("shop")
    refused(404, "not_found", lambda: svix.application.get("shop"))


def main():
    svix = client(TOKEN)
    step("health")
    svix.health.get()
    with Receiver() as receiver:
        applications(svix)
        event_types(svix)
        endpoint = endpoints(svix, receiver)
        secrets = rotate(svix)
        sent = messages(svix, receiver, secrets)
        attempt = attempts(svix, sent, endpoint)
        resend(svix, receiver, secrets, sent)
        recover(svix, receiver, secrets)
        statistics(svix)
        example(svix, receiver, secrets)
        as_text(svix, receiver, secrets)
        portal(svix)
        patches(svix)
        errors(svix)
        deletions(svix, sent, attempt)


main()
