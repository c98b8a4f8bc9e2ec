import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.svix.exceptions.ApiException;
import java.util.Objects;
import java.util.concurrent.Callable;

/** What a step of the walk is judged with. */
final class Check {
    static final ObjectMapper JSON = new ObjectMapper();

    private Check() {}

    interface Call {
        void run() throws Exception;
    }

    static void step(String name) {
        System.out.println("- " + name);
    }

    static void ok(boolean is, String otherwise) {
        if (!is) {
            throw new AssertionError(otherwise);
        }
    }

    static void same(Object got, Object wanted) {
        ok(Objects.equals(got, wanted), "got " + got + " instead of " + wanted);
    }

    /** Asks until there is an answer: what is delivered is logged a little later. */
    static <T> T eventually(String what, Callable<T> ask) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (System.nanoTime() < deadline) {
            T answer = ask.call();
            if (answer != null && !Boolean.FALSE.equals(answer)) {
                return answer;
            }
            Thread.sleep(50);
        }
        throw new AssertionError("waited in vain for " + what);
    }

    private static JsonNode failure(int status, Call call) throws Exception {
        try {
            call.run();
        } catch (ApiException error) {
            same(error.getCode(), status);
            return JSON.readTree(error.getResponseBody());
        }
        throw new AssertionError("expected " + status + ", and it succeeded");
    }

    /** The call must fail with this status and code, as an error of the package's own class. */
    static void refused(int status, String code, Call call) throws Exception {
        JsonNode body = failure(status, call);
        same(body.path("code").asText(), code);
        ok(!body.path("detail").asText().isEmpty(), "an error without detail");
    }

    static void invalid(String field, Call call) throws Exception {
        JsonNode first = failure(422, call).path("detail").path(0);
        same(first.path("loc").path(first.path("loc").size() - 1).asText(), field);
        ok(first.hasNonNull("msg") && first.hasNonNull("type"), "an error that says nothing");
    }

    static Object json(String text) throws Exception {
        return JSON.readValue(text, Object.class);
    }
}
