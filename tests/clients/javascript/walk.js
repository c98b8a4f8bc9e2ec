// The life of an application, walked with the npm package `svix` against a running Postrider.
//
// It finds the server in POSTRIDER_URL and an operator's token of an organisation of its own in POSTRIDER_TOKEN. The
// first thing that is not as it should be ends it with 1.

// Version 1 makes idempotency keys with the global that Node.js 18 does not have yet.
globalThis.crypto ??= require("node:crypto").webcrypto;

const { deepStrictEqual: same, ok, rejects, strictEqual, throws } = require("node:assert");
const { setTimeout: sleep } = require("node:timers/promises");
const { ApiException, MessageStatus, Svix, Webhook, WebhookVerificationError, messageInRaw } = require("svix");
const { Receiver } = require("./receiver");

const PATIENCE = 60_000;
const HOUR = 3_600_000;

const client = (token) => new Svix(token, { serverUrl: process.env.POSTRIDER_URL });
/** Version 2 renamed some methods. */
const either = (resource, newer, older) => (resource[newer] ?? resource[older]).bind(resource);
const step = (name) => console.log(`- ${name}`);

/** Asks until there is an answer: what is delivered is logged a little later. */
async function eventually(what, ask) {
  const deadline = Date.now() + PATIENCE;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer) return answer;
    await sleep(50);
  }
  throw new Error(`waited in vain for ${what}`);
}

/** The call must fail with this status and code, as an error of the package's own class. */
async function refused(status, code, call) {
  await rejects(call, (error) => {
    ok(error instanceof ApiException, `${error}`);
    same([error.code, error.body.code], [status, code]);
    ok(error.body.detail, "an error without detail");
    return true;
  });
}

async function invalid(field, call) {
  await rejects(call, (error) => {
    ok(error instanceof ApiException, `${error}`);
    const [first] = error.body.detail;
    same([error.code, first.loc.at(-1)], [422, field]);
    ok(first.msg && first.type, "an error that says nothing");
    return true;
  });
}

async function applications(svix) {
  step("applications");
  const wanted = { name: "Shop", uid: "shop", metadata: { plan: "gold" } };
  const app = await svix.application.getOrCreate(wanted);
  same([app.name, app.uid, app.metadata], ["Shop", "shop", { plan: "gold" }]);
  ok(app.createdAt instanceof Date && !Number.isNaN(app.createdAt.getTime()), "a time that is none");
  strictEqual((await svix.application.getOrCreate(wanted)).id, app.id);
  strictEqual((await svix.application.get("shop")).id, app.id);
  await refused(409, "conflict", () => svix.application.create(wanted));
  const put = either(svix.application, "upsert", "update");
  strictEqual((await put("other", { name: "Other", uid: "other" })).uid, "other");
  const page = await svix.application.list({ limit: 1 });
  same([page.data.map((one) => one.id), page.done], [[app.id], false]);
  const rest = await svix.application.list({ limit: 1, iterator: page.iterator });
  same([rest.data.map((one) => one.uid), rest.done], [["other"], true]);
}

async function eventTypes(svix) {
  step("event types");
  const schemas = { 1: { type: "object", examples: [{ order: 1 }] } };
  const wanted = { name: "order.paid", description: "Paid", schemas };
  const made = await svix.eventType.create(wanted);
  same([made.name, made.archived, made.deprecated], ["order.paid", false, false]);
  same((await svix.eventType.get("order.paid")).schemas, schemas);
  await refused(409, "event_type_exists", () => svix.eventType.create(wanted));
  const patched = await svix.eventType.patch("order.paid", { description: "Money" });
  same([patched.description, patched.schemas], ["Money", schemas]);
  const listed = await svix.eventType.list({ withContent: true });
  same(listed.data.map((one) => one.name), ["order.paid"]);
}

async function endpoints(svix, receiver) {
  step("endpoints and their headers");
  // Version 1 calls the filter by its old name.
  const eventTypes = "setHeaders" in svix.endpoint ? "eventTypes" : "filterTypes";
  const made = await svix.endpoint.create("shop", {
    url: receiver.url,
    uid: "main",
    description: "Till",
    channels: ["eu"],
    [eventTypes]: ["order.paid"],
    metadata: { team: "till" },
    headers: { "X-Shop": "7", Authorization: "Bearer till" },
  });
  same([made.uid, made.channels, made.metadata], ["main", ["eu"], { team: "till" }]);
  same(made[eventTypes], ["order.paid"]);
  await invalid("channels", () => svix.endpoint.create("shop", { url: receiver.url, channels: [] }));
  let shown = await svix.endpoint.getHeaders("shop", "main");
  same([shown.headers, shown.sensitive], [{ "X-Shop": "7" }, ["Authorization"]]);
  await svix.endpoint.patchHeaders("shop", "main", { headers: { "X-Till": "3" }, deleteHeaders: ["X-Shop"] });
  same((await svix.endpoint.getHeaders("shop", "main")).headers, { "X-Till": "3" });
  const put = either(svix.endpoint, "setHeaders", "updateHeaders");
  await put("shop", "main", { headers: { "X-Till": "4" } });
  shown = await svix.endpoint.getHeaders("shop", "main");
  same([shown.headers, shown.sensitive], [{ "X-Till": "4" }, []]);
  same((await svix.endpoint.list("shop")).data.map((one) => one.id), [made.id]);
  strictEqual((await svix.endpoint.get("shop", "main")).id, made.id);
  return made;
}

async function rotate(svix) {
  step("a secret is rotated");
  const old = (await svix.endpoint.getSecret("shop", "main")).key;
  const answer = await svix.endpoint.rotateSecret("shop", "main", {});
  const fresh = (await svix.endpoint.getSecret("shop", "main")).key;
  ok(old !== fresh, "the secret is the old one");
  // Version 1 does not look at the answer.
  ok(!answer || answer.key === fresh, "rotation answered another key");
  return [old, fresh];
}

function verify(request, secrets) {
  for (const secret of secrets) new Webhook(secret).verify(request.body, request.headers);
  throws(() => new Webhook(secrets[0]).verify(`${request.body} `, request.headers), WebhookVerificationError);
}

const message = (n) => ({
  eventType: "order.paid",
  eventId: `order-${n}`,
  payload: { order: n, name: "Jürgen 👋" },
  channels: ["eu"],
  tags: ["till", `n${n}`],
});

async function messages(svix, receiver, secrets) {
  step("a message arrives, verified");
  const keyed = { idempotencyKey: "order-1", withContent: true };
  const sent = await svix.message.create("shop", message(1), keyed);
  strictEqual((await svix.message.create("shop", message(1), keyed)).id, sent.id);
  same([sent.eventId, sent.tags, sent.channels], ["order-1", ["till", "n1"], ["eu"]]);
  same(sent.payload, message(1).payload);
  await refused(409, "conflict", () => svix.message.create("shop", message(1)));
  const request = await receiver.next();
  same([request.headers["webhook-id"], request.headers["x-till"]], [sent.id, "4"]);
  verify(request, secrets);
  step("messages are read");
  for (const key of [sent.id, "order-1"]) {
    const read = await svix.message.get("shop", key, { withContent: true });
    same([read.id, read.payload], [sent.id, message(1).payload]);
  }
  same((await svix.message.get("shop", sent.id, { withContent: false })).payload, {});
  const second = await svix.message.create("shop", message(2));
  verify(await receiver.next(), secrets);
  const page = await eventually("the second message to be listed", async () => {
    const newest = await svix.message.list("shop", { limit: 1, tag: "till" });
    return newest.data[0]?.id === second.id ? newest : undefined;
  });
  same([page.data.length, page.done], [1, false]);
  const rest = await svix.message.list("shop", { limit: 1, tag: "till", iterator: page.iterator });
  same([rest.data.map((one) => one.id), rest.done], [[sent.id], true]);
  const kept = await svix.message.list("shop", { eventTypes: ["order.paid"], tag: "n2" });
  same(kept.data.map((one) => one.id), [second.id]);
  return sent;
}

async function attempts(svix, sent, endpoint) {
  step("attempts are read");
  const [one] = await eventually("an attempt", async () => {
    const { data } = await svix.messageAttempt.listByMsg("shop", sent.id, { withContent: true });
    return data.length > 0 ? data : undefined;
  });
  same([one.msgId, one.endpointId, one.responseStatusCode], [sent.id, endpoint.id, 200]);
  same([one.status, one.triggerType, one.response], [0, 0, "received"]);
  ok(one.responseDurationMs >= 0);
  strictEqual((await svix.messageAttempt.get("shop", sent.id, one.id)).id, one.id);
  const [newer, older] = await eventually("attempts of both messages", async () => {
    const first = { limit: 1, status: MessageStatus.Success, withMsg: true };
    const page = await svix.messageAttempt.listByEndpoint("shop", "main", first);
    if (page.done || page.data.length === 0) return undefined;
    const following = { limit: 1, iterator: page.iterator };
    return [...page.data, ...(await svix.messageAttempt.listByEndpoint("shop", "main", following)).data];
  });
  same([newer.msg.eventId, older.id], ["order-2", one.id]);
  const destinations = await svix.messageAttempt.listAttemptedDestinations("shop", sent.id);
  same(destinations.data.map((to) => [to.id, to.status]), [[endpoint.id, 0]]);
  const tried = await svix.messageAttempt.listAttemptedMessages("shop", "main");
  same(tried.data.map((each) => each.eventId), ["order-2", "order-1"]);
  return one;
}

async function resend(svix, receiver, secrets, sent) {
  step("resend");
  await svix.messageAttempt.resend("shop", sent.id, "main");
  const request = await receiver.next();
  strictEqual(request.headers["webhook-id"], sent.id);
  verify(request, secrets);
  await eventually("the attempt made by hand", async () => {
    const { data } = await svix.messageAttempt.listByMsg("shop", sent.id);
    return data.map((one) => one.triggerType).join() === "1,0";
  });
}

async function recover(svix, receiver, secrets) {
  step("what failed is recovered");
  const since = new Date(Date.now() - HOUR);
  receiver.status = 500;
  const sent = await svix.message.create("shop", message(3));
  await eventually("the message to be given up", async () => {
    const [to] = (await svix.messageAttempt.listAttemptedDestinations("shop", sent.id)).data;
    return to && to.status === MessageStatus.Fail && !to.nextAttempt;
  });
  receiver.status = 200;
  receiver.forget();
  const task = await svix.endpoint.recover("shop", "main", { since });
  ok(task.id.startsWith("qtask_"), task.id);
  const request = await receiver.next();
  strictEqual(request.headers["webhook-id"], sent.id);
  verify(request, secrets);
  const finished = await eventually("the task to finish", async () => {
    const read = await svix.backgroundTask.get(task.id);
    return read.status === "finished" ? read : undefined;
  });
  strictEqual(finished.task, "endpoint.recover");
}

async function statistics(svix) {
  step("statistics");
  const now = Date.now();
  const range = { since: new Date(now - 24 * HOUR), until: new Date(now + HOUR) };
  await eventually("three messages to be counted", async () => {
    const stats = await svix.endpoint.getStats("shop", "main", range);
    return [stats.success, stats.fail, stats.pending, stats.sending].join() === "3,0,0,0";
  });
  const long = { since: new Date(now - 60 * 24 * HOUR), until: new Date(now) };
  await refused(400, "invalid_range", () => svix.endpoint.getStats("shop", "main", long));
}

async function example(svix, receiver, secrets) {
  step("an example");
  const sent = await svix.endpoint.sendExample("shop", "main", { eventType: "svix.ping" });
  const request = await receiver.next();
  strictEqual(request.headers["webhook-id"], sent.id);
  verify(request, secrets);
}

async function asText(svix, receiver, secrets) {
  step("a payload that is text");
  const text = '{ "order": 4.0 }';
  const sent = await svix.message.create("shop", { ...messageInRaw("order.paid", text), channels: ["eu"] });
  const request = await receiver.next();
  same([request.headers["webhook-id"], request.body], [sent.id, text]);
  verify(request, secrets);
}

async function portal(svix) {
  step("the customer's own access");
  const access = await svix.authentication.appPortalAccess("shop", { expiry: 3600 });
  ok(access.url.endsWith(access.token), access.url);
  const customer = client(access.token);
  same((await customer.endpoint.list("shop")).data.map((one) => one.uid), ["main"]);
  await refused(403, "insufficient_access", () => customer.application.list());
  await refused(404, "not_found", () => customer.endpoint.list("other"));
  await customer.authentication.logout();
  await eventually("the token to be revoked", async () => {
    try {
      await customer.endpoint.list("shop");
    } catch (error) {
      same([error.code, error.body.code], [401, "authentication_failed"]);
      return true;
    }
    return false;
  });
}

async function patches(svix) {
  step("absent keeps, null clears");
  const patch = (fields) => svix.endpoint.patch("shop", "main", fields);
  const kept = await patch({ description: "Till 2", throttleRate: 500 });
  same([kept.description, kept.channels, kept.metadata], ["Till 2", ["eu"], { team: "till" }]);
  const cleared = await patch({ channels: null, throttleRate: null });
  same([cleared.channels, cleared.throttleRate, cleared.uid], [null, null, "main"]);
  same([cleared.description, cleared.metadata], ["Till 2", { team: "till" }]);
  await invalid("url", () => patch({ url: null }));
  const renamed = await svix.application.patch("other", { name: "Renamed" });
  same([renamed.name, renamed.uid], ["Renamed", "other"]);
  strictEqual((await svix.application.patch(renamed.id, { uid: null })).uid, null);
  await svix.application.delete(renamed.id);
}

async function errors(svix) {
  step("errors");
  await refused(401, "authentication_failed", () => client("nonsense").application.list());
  await refused(404, "not_found", () => svix.application.get("nobody"));
  await refused(404, "not_found", () => svix.message.get("shop", "msg_nothing"));
  await svix.application.create({ name: "Slow", uid: "slow", throttleRate: 1 });
  await refused(429, "rate_limited", async () => {
    for (let n = 0; n < 20; n += 1) await svix.message.create("slow", { eventType: "order.paid", payload: {} });
  });
}

async function deletions(svix, sent, attempt) {
  step("deletions");
  await svix.messageAttempt.expungeContent("shop", sent.id, attempt.id);
  await svix.message.expungeContent("shop", sent.id);
  same((await svix.message.get("shop", sent.id, { withContent: true })).payload, { expired: true });
  await refused(400, "missing_payload", () => svix.messageAttempt.resend("shop", sent.id, "main"));
  await svix.endpoint.delete("shop", "main");
  await refused(404, "not_found", () => svix.endpoint.get("shop", "main"));
  await svix.eventType.delete("order.paid", { expunge: true });
  await refused(404, "not_found", () => svix.eventType.get("order.paid"));
  await svix.application.delete("shop");
  await refused(404, "not_found", () => svix.application.get("shop"));
}

async function main() {
  const svix = client(process.env.POSTRIDER_TOKEN);
  step("health");
  await svix.health.get();
  const receiver = await new Receiver().start();
  await applications(svix);
  await eventTypes(svix);
  const endpoint = await endpoints(svix, receiver);
  const secrets = await rotate(svix);
  const sent = await messages(svix, receiver, secrets);
  const attempt = await attempts(svix, sent, endpoint);
  await resend(svix, receiver, secrets, sent);
  await recover(svix, receiver, secrets);
  await statistics(svix);
  await example(svix, receiver, secrets);
  await asText(svix, receiver, secrets);
  await portal(svix);
  await patches(svix);
  await errors(svix);
  await deletions(svix, sent, attempt);
  receiver.stop();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
