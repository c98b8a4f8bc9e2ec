import com.svix.Svix;
import com.svix.SvixOptions;
import com.svix.Webhook;
import com.svix.api.*;
import com.svix.exceptions.ApiException;
import com.svix.exceptions.WebhookVerificationException;
import com.svix.models.*;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The life of an application, walked with the package com.svix:svix against a running Postrider.
 *
 * <p>It finds the server in POSTRIDER_URL and an operator's token of an organisation of its own in POSTRIDER_TOKEN. The
 * first thing that is not as it should be ends it with an exception. The package has no call for the health.
 */
final class Walk {
    private static final String TOKEN = System.getenv("POSTRIDER_TOKEN");

    private final Svix svix = client(TOKEN);
    private final Receiver receiver = new Receiver();
    private String endpoint;
    private List<String> secrets;
    private String sent;
    private String attempt;

    private Walk() throws Exception {}

    private static Svix client(String token) {
        SvixOptions options = new SvixOptions();
        options.setServerUrl(System.getenv("POSTRIDER_URL"));
        return new Svix(token, options);
    }

    /** For what the package has calls for that throw before they send anything: its HTTP client makes no POST without a body. */
    private static void postNothing(String path, String token) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("POSTRIDER_URL") + "/api/v1" + path))
            .header("authorization", "Bearer " + token)
            .POST(HttpRequest.BodyPublishers.noBody())
            .build();
        int status = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding()).statusCode();
        Check.ok(status == 202 || status == 204, "POST " + path + " was answered " + status);
    }

    private void applications() throws Exception {
        Check.step("applications");
        ApplicationIn wanted = new ApplicationIn().name("Shop").uid("shop").metadata(Map.of("plan", "gold"));
        ApplicationOut app = svix.getApplication().getOrCreate(wanted);
        Check.same(List.of(app.getName(), app.getUid(), app.getMetadata()), List.of("Shop", "shop", Map.of("plan", "gold")));
        Check.same(svix.getApplication().getOrCreate(wanted).getId(), app.getId());
        Check.same(svix.getApplication().get("shop").getId(), app.getId());
        Check.refused(409, "conflict", () -> svix.getApplication().create(wanted));
        ApplicationIn other = new ApplicationIn().name("Other").uid("other");
        Check.same(svix.getApplication().update("other", other).getUid(), "other");
        ApplicationListOptions one = new ApplicationListOptions();
        one.setLimit(1L);
        ListResponseApplicationOut page = svix.getApplication().list(one);
        Check.same(page.getData().get(0).getId(), app.getId());
        Check.same(page.getDone(), false);
        one.setIterator(page.getIterator());
        ListResponseApplicationOut rest = svix.getApplication().list(one);
        Check.same(rest.getData().get(0).getUid(), "other");
        Check.same(rest.getDone(), true);
    }

    private void eventTypes() throws Exception {
        Check.step("event types");
        Object schemas = Check.json("{\"1\": {\"type\": \"object\"}}");
        EventTypeIn wanted = new EventTypeIn().name("order.paid").description("Paid").schemas(schemas);
        EventTypeOut made = svix.getEventType().create(wanted);
        Check.same(List.of(made.getName(), made.getArchived(), made.getDeprecated()), List.of("order.paid", false, false));
        Check.same(svix.getEventType().get("order.paid").getSchemas(), schemas);
        Check.refused(409, "event_type_exists", () -> svix.getEventType().create(wanted));
        EventTypeOut patched = svix.getEventType().patch("order.paid", new EventTypePatch().description("Money"));
        Check.same(List.of(patched.getDescription(), patched.getSchemas()), List.of("Money", schemas));
        Check.same(svix.getEventType().list().getData().size(), 1);
    }

    private void endpoints() throws Exception {
        Check.step("endpoints and their headers");
        EndpointIn wanted = new EndpointIn()
            .url(receiver.url).uid("main").description("Till")
            .channels(Set.of("eu")).filterTypes(Set.of("order.paid")).metadata(Map.of("team", "till"))
            .headers(Map.of("X-Shop", "7", "Authorization", "Bearer till"));
        EndpointOut made = svix.getEndpoint().create("shop", wanted);
        endpoint = made.getId();
        Check.same(List.of(made.getUid(), made.getChannels(), made.getFilterTypes()), List.of("main", Set.of("eu"), Set.of("order.paid")));
        EndpointIn wrong = new EndpointIn().url(receiver.url).channels(Set.of("not this"));
        Check.invalid("channels", () -> svix.getEndpoint().create("shop", wrong));
        EndpointHeadersOut shown = svix.getEndpoint().getHeaders("shop", "main");
        Check.same(List.of(shown.getHeaders(), shown.getSensitive()), List.of(Map.of("X-Shop", "7"), Set.of("Authorization")));
        EndpointHeadersPatchIn change = new EndpointHeadersPatchIn().headers(Map.of("X-Till", "3")).deleteHeaders(List.of("X-Shop"));
        svix.getEndpoint().patchHeaders("shop", "main", change);
        Check.same(svix.getEndpoint().getHeaders("shop", "main").getHeaders(), Map.of("X-Till", "3"));
        svix.getEndpoint().updateHeaders("shop", "main", new EndpointHeadersIn().headers(Map.of("X-Till", "4")));
        shown = svix.getEndpoint().getHeaders("shop", "main");
        Check.same(List.of(shown.getHeaders(), shown.getSensitive()), List.of(Map.of("X-Till", "4"), Set.of()));
        Check.same(svix.getEndpoint().list("shop").getData().get(0).getId(), endpoint);
        Check.same(svix.getEndpoint().get("shop", "main").getId(), endpoint);
    }

    private void rotate() throws Exception {
        Check.step("a secret is rotated");
        String old = svix.getEndpoint().getSecret("shop", "main").getKey();
        svix.getEndpoint().rotateSecret("shop", "main", new EndpointSecretRotateIn());
        String fresh = svix.getEndpoint().getSecret("shop", "main").getKey();
        Check.ok(!old.equals(fresh), "the secret is the old one");
        secrets = List.of(old, fresh);
    }

    /** The next delivery: it must be of this message and verify. */
    private Receiver.Request arrives(String message) throws Exception {
        Receiver.Request request = receiver.next();
        Check.same(request.header("webhook-id"), message);
        for (String secret : secrets) {
            Webhook webhook = new Webhook(secret);
            webhook.verify(request.body(), request.headers());
            try {
                webhook.verify(request.body() + " ", request.headers());
                throw new AssertionError("a forged body was taken for genuine");
            } catch (WebhookVerificationException expected) {
                // As it should be.
            }
        }
        return request;
    }

    private static String payload(int n) {
        return "{\"order\":" + n + ",\"name\":\"Jürgen 👋\"}";
    }

    private static MessageIn message(int n) {
        return new MessageIn().eventType("order.paid").eventId("order-" + n).payload(payload(n))
            .channels(Set.of("eu")).tags(Set.of("till", "n" + n));
    }

    private void messages() throws Exception {
        Check.step("a message arrives, verified");
        MessageCreateOptions keyed = new MessageCreateOptions();
        keyed.setIdempotencyKey("order-1");
        keyed.setWithContent(true);
        MessageOut first = svix.getMessage().create("shop", message(1), keyed);
        sent = first.getId();
        Check.same(first.getEventId(), "order-1");
        Check.same(List.of(first.getTags(), first.getChannels()), List.of(Set.of("till", "n1"), Set.of("eu")));
        Check.same(svix.getMessage().create("shop", message(1), keyed).getId(), sent);
        Check.refused(409, "conflict", () -> svix.getMessage().create("shop", message(1)));
        Receiver.Request request = arrives(sent);
        Check.same(request.header("x-till"), "4");
        Check.same(request.body(), payload(1));
        Check.step("messages are read");
        MessageGetOptions with = new MessageGetOptions();
        with.setWithContent(true);
        for (String key : List.of(sent, "order-1")) {
            MessageOut read = svix.getMessage().get("shop", key, with);
            Check.same(List.of(read.getId(), read.getPayload()), List.of(sent, Check.json(payload(1))));
        }
        with.setWithContent(false);
        Check.same(svix.getMessage().get("shop", sent, with).getPayload(), Map.of());
        String second = svix.getMessage().create("shop", message(2)).getId();
        arrives(second);
        MessageListOptions options = new MessageListOptions();
        options.setLimit(1L);
        options.setTag("till");
        ListResponseMessageOut page = Check.eventually("the second message to be listed", () -> {
            ListResponseMessageOut newest = svix.getMessage().list("shop", options);
            return newest.getData().stream().anyMatch(one -> one.getId().equals(second)) ? newest : null;
        });
        Check.same(page.getDone(), false);
        options.setIterator(page.getIterator());
        ListResponseMessageOut rest = svix.getMessage().list("shop", options);
        Check.same(List.of(rest.getData().get(0).getId(), rest.getDone()), List.of(sent, true));
        MessageListOptions filter = new MessageListOptions();
        filter.setEventTypes(Set.of("order.paid"));
        filter.setTag("n2");
        Check.same(svix.getMessage().list("shop", filter).getData().stream().map(MessageOut::getId).toList(), List.of(second));
    }

    private void attempts() throws Exception {
        Check.step("attempts are read");
        MessageAttemptListByMsgOptions with = new MessageAttemptListByMsgOptions();
        with.setWithContent(true);
        MessageAttemptOut one = Check.eventually("an attempt", () ->
            svix.getMessageAttempt().listByMsg("shop", sent, with).getData().stream().findFirst().orElse(null));
        attempt = one.getId();
        Check.same(List.of(one.getMsgId(), one.getEndpointId(), one.getResponse()), List.of(sent, endpoint, "received"));
        Check.same(List.of(one.getStatus(), one.getResponseStatusCode().intValue()), List.of(MessageStatus.SUCCESS, 200));
        Check.same(svix.getMessageAttempt().get("shop", sent, attempt).getId(), attempt);
        MessageAttemptListByEndpointOptions options = new MessageAttemptListByEndpointOptions();
        options.setLimit(1L);
        options.setStatus(MessageStatus.SUCCESS);
        options.setWithMsg(true);
        ListResponseMessageAttemptOut page = Check.eventually("attempts of both messages", () -> {
            ListResponseMessageAttemptOut newest = svix.getMessageAttempt().listByEndpoint("shop", "main", options);
            return newest.getDone() || newest.getData().isEmpty() ? null : newest;
        });
        Check.same(page.getData().get(0).getMsg().getEventId(), "order-2");
        options.setIterator(page.getIterator());
        Check.same(svix.getMessageAttempt().listByEndpoint("shop", "main", options).getData().get(0).getId(), attempt);
        MessageEndpointOut to = svix.getMessageAttempt().listAttemptedDestinations("shop", sent).getData().get(0);
        Check.same(List.of(to.getId(), to.getStatus()), List.of(endpoint, MessageStatus.SUCCESS));
        Check.same(svix.getMessageAttempt().listAttemptedMessages("shop", "main").getData().stream()
            .map(EndpointMessageOut::getEventId).toList(), List.of("order-2", "order-1"));
    }

    private void resend() throws Exception {
        Check.step("resend");
        postNothing("/app/shop/msg/" + sent + "/endpoint/main/resend", TOKEN);
        arrives(sent);
        Check.eventually("the attempt made by hand", () ->
            svix.getMessageAttempt().listByMsg("shop", sent).getData().stream().map(MessageAttemptOut::getTriggerType).toList()
                .equals(List.of(MessageAttemptTriggerType.MANUAL, MessageAttemptTriggerType.SCHEDULED)));
    }

    private void recover() throws Exception {
        Check.step("what failed is recovered");
        OffsetDateTime since = OffsetDateTime.now(ZoneOffset.UTC).minusHours(1);
        receiver.status = 500;
        String failed = svix.getMessage().create("shop", message(3)).getId();
        Check.eventually("the message to be given up", () ->
            svix.getMessageAttempt().listAttemptedDestinations("shop", failed).getData().stream()
                .anyMatch(to -> to.getStatus() == MessageStatus.FAIL && to.getNextAttempt() == null));
        receiver.status = 200;
        receiver.forget();
        String task = svix.getEndpoint().recover("shop", "main", new RecoverIn().since(since)).getId();
        Check.ok(task.startsWith("qtask_"), task);
        arrives(failed);
        BackgroundTaskOut finished = Check.eventually("the task to finish", () -> {
            BackgroundTaskOut read = svix.getBackgroundTask().get(task);
            return read.getStatus() == BackgroundTaskStatus.FINISHED ? read : null;
        });
        Check.same(finished.getTask(), BackgroundTaskType.ENDPOINT_RECOVER);
    }

    private void statistics() throws Exception {
        Check.step("statistics");
        OffsetDateTime now = OffsetDateTime.now(ZoneOffset.UTC);
        EndpointGetStatsOptions range = new EndpointGetStatsOptions();
        range.setSince(now.minusDays(1));
        range.setUntil(now.plusHours(1));
        Check.eventually("three messages to be counted", () -> {
            EndpointStats stats = svix.getEndpoint().getStats("shop", "main", range);
            return stats.getSuccess() == 3 && stats.getFail() == 0 && stats.getPending() == 0 && stats.getCanceled() == 0;
        });
        range.setSince(now.minusDays(60));
        Check.refused(400, "invalid_range", () -> svix.getEndpoint().getStats("shop", "main", range));
        Check.step("an example");
        arrives(svix.getEndpoint().sendExample("shop", "main", new EventExampleIn().eventType("svix.ping")).getId());
    }

    private void portal() throws Exception {
        Check.step("the customer's own access");
        AppPortalAccessOut access = svix.getAuthentication().appPortalAccess("shop", new AppPortalAccessIn().expiry(3600L));
        Check.ok(access.getUrl().toString().endsWith(access.getToken()), access.getUrl().toString());
        Svix customer = client(access.getToken());
        Check.same(customer.getEndpoint().list("shop").getData().get(0).getUid(), "main");
        Check.refused(403, "insufficient_access", () -> customer.getApplication().list());
        Check.refused(404, "not_found", () -> customer.getEndpoint().list("other"));
        postNothing("/auth/logout", access.getToken());
        Check.eventually("the token to be revoked", () -> {
            try {
                customer.getEndpoint().list("shop");
                return false;
            } catch (ApiException error) {
                Check.same(error.getCode(), 401);
                return true;
            }
        });
    }

    private void patches() throws Exception {
        Check.step("absent keeps, null clears");
        EndpointOut kept = svix.getEndpoint().patch("shop", "main", new EndpointPatch().description("Till 2").throttleRate(500L));
        Check.same(List.of(kept.getDescription(), kept.getChannels(), kept.getMetadata(), kept.getThrottleRate()),
            List.of("Till 2", Set.of("eu"), Map.of("team", "till"), 500L));
        EndpointOut cleared = svix.getEndpoint().patch("shop", "main", new EndpointPatch().channels(null).throttleRate(null));
        Check.ok(cleared.getChannels() == null && cleared.getThrottleRate() == null, "null did not clear: " + cleared);
        Check.same(List.of(cleared.getDescription(), cleared.getMetadata(), cleared.getUid()),
            List.of("Till 2", Map.of("team", "till"), "main"));
        EndpointPatch nowhere = new EndpointPatch().url(URI.create("nowhere"));
        Check.invalid("url", () -> svix.getEndpoint().patch("shop", "main", nowhere));
        ApplicationOut renamed = svix.getApplication().patch("other", new ApplicationPatch().name("Renamed"));
        Check.same(List.of(renamed.getName(), renamed.getUid()), List.of("Renamed", "other"));
        Check.same(svix.getApplication().patch(renamed.getId(), new ApplicationPatch().uid(null)).getUid(), null);
        svix.getApplication().delete(renamed.getId());
    }

    private void errors() throws Exception {
        Check.step("errors");
        Check.refused(401, "authentication_failed", () -> client("nonsense").getApplication().list());
        Check.refused(404, "not_found", () -> svix.getApplication().get("nobody"));
        Check.refused(404, "not_found", () -> svix.getMessage().get("shop", "msg_nothing"));
        svix.getApplication().create(new ApplicationIn().name("Slow").uid("slow").throttleRate(1L));
        MessageIn empty = new MessageIn().eventType("order.paid").payload("{}");
        Check.refused(429, "rate_limited", () -> {
            for (int n = 0; n < 20; n++) {
                svix.getMessage().create("slow", empty);
            }
        });
    }

    private void deletions() throws Exception {
        Check.step("deletions");
        svix.getMessageAttempt().expungeContent("shop", sent, attempt);
        svix.getMessage().expungeContent("shop", sent);
        MessageGetOptions with = new MessageGetOptions();
        with.setWithContent(true);
        Check.same(svix.getMessage().get("shop", sent, with).getPayload(), Map.of("expired", true));
        svix.getEndpoint().delete("shop", "main");
        Check.refused(404, "not_found", () -> svix.getEndpoint().get("shop", "main"));
        EventTypeDeleteOptions expunge = new EventTypeDeleteOptions();
        expunge.setExpunge(true);
        svix.getEventType().delete("order.paid", expunge);
        Check.refused(404, "not_found", () -> svix.getEventType().get("order.paid"));
        svix.getApplication().delete("shop");
        Check.refused(404, "not_found", () -> svix.getApplication().get("shop"));
    }

    private void all() throws Exception {
        applications();
        eventTypes();
        endpoints();
        rotate();
        messages();
        attempts();
        resend();
        recover();
        statistics();
        portal();
        patches();
        errors();
        deletions();
    }

    public static void main(String[] arguments) {
        int status = 1;
        try {
            new Walk().all();
            status = 0;
        } catch (Throwable failure) {
            failure.printStackTrace();
        }
        // The threads of the library and of the receiver would keep the program.
        System.exit(status);
    }
}
