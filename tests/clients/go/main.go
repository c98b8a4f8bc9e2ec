// The life of an application, walked with the Go package github.com/svix/svix-webhooks/go against a running Postrider.
//
// It finds the server in POSTRIDER_URL and an operator's token of an organisation of its own in POSTRIDER_TOKEN. The
// first thing that is not as it should be ends it with a panic.
package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"
	"github.com/svix/svix-webhooks/go/models"
	"github.com/svix/svix-webhooks/go/utils"
)

var ctx = context.Background()

func client(token string) *svix.Svix {
	server := must(url.Parse(os.Getenv("POSTRIDER_URL")))
	return must(svix.New(token, &svix.SvixOptions{ServerUrl: server}))
}

func applications(api *svix.Svix) {
	step("applications")
	wanted := models.ApplicationIn{Name: "Shop", Uid: ptr("shop"), Metadata: &map[string]string{"plan": "gold"}}
	app := must(api.Application.GetOrCreate(ctx, wanted, nil))
	same([]any{app.Name, *app.Uid, app.Metadata}, []any{"Shop", "shop", map[string]string{"plan": "gold"}})
	same(must(api.Application.GetOrCreate(ctx, wanted, nil)).Id, app.Id)
	same(must(api.Application.Get(ctx, "shop")).Id, app.Id)
	_, err := api.Application.Create(ctx, wanted, nil)
	refused(409, "conflict", err)
	other := models.ApplicationIn{Name: "Other", Uid: ptr("other")}
	same(*must(api.Application.Update(ctx, "other", other)).Uid, "other")
	page := must(api.Application.List(ctx, &svix.ApplicationListOptions{Limit: ptr(uint64(1))}))
	same([]any{len(page.Data), page.Data[0].Id, page.Done}, []any{1, app.Id, false})
	following := svix.ApplicationListOptions{Limit: ptr(uint64(1)), Iterator: page.Iterator}
	rest := must(api.Application.List(ctx, &following))
	same([]any{len(rest.Data), *rest.Data[0].Uid, rest.Done}, []any{1, "other", true})
}

func eventTypes(api *svix.Svix) {
	step("event types")
	schemas := map[string]any{"1": map[string]any{"type": "object"}}
	wanted := models.EventTypeIn{Name: "order.paid", Description: "Paid", Schemas: &schemas}
	made := must(api.EventType.Create(ctx, wanted, nil))
	same([]any{made.Name, *made.Archived, made.Deprecated}, []any{"order.paid", false, false})
	same(*must(api.EventType.Get(ctx, "order.paid")).Schemas, schemas)
	_, err := api.EventType.Create(ctx, wanted, nil)
	refused(409, "event_type_exists", err)
	patched := must(api.EventType.Patch(ctx, "order.paid", models.EventTypePatch{Description: ptr("Money")}))
	same([]any{patched.Description, *patched.Schemas}, []any{"Money", schemas})
	listed := must(api.EventType.List(ctx, &svix.EventTypeListOptions{WithContent: ptr(true)}))
	same([]any{len(listed.Data), listed.Data[0].Name}, []any{1, "order.paid"})
}

func endpoints(api *svix.Svix, to *receiver) string {
	step("endpoints and their headers")
	made := must(api.Endpoint.Create(ctx, "shop", models.EndpointIn{
		Url:         to.URL,
		Uid:         ptr("main"),
		Description: ptr("Till"),
		Channels:    []string{"eu"},
		FilterTypes: []string{"order.paid"},
		Metadata:    &map[string]string{"team": "till"},
		Headers:     &map[string]string{"X-Shop": "7", "Authorization": "Bearer till"},
	}, nil))
	same([]any{*made.Uid, made.Channels, made.FilterTypes}, []any{"main", []string{"eu"}, []string{"order.paid"}})
	_, err := api.Endpoint.Create(ctx, "shop", models.EndpointIn{Url: to.URL, Channels: []string{"not this"}}, nil)
	invalid("channels", err)
	shown := must(api.Endpoint.GetHeaders(ctx, "shop", "main"))
	same([]any{shown.Headers, shown.Sensitive}, []any{map[string]string{"X-Shop": "7"}, []string{"Authorization"}})
	change := models.EndpointHeadersPatchIn{Headers: map[string]string{"X-Till": "3"}, DeleteHeaders: []string{"X-Shop"}}
	succeed(api.Endpoint.PatchHeaders(ctx, "shop", "main", change))
	same(must(api.Endpoint.GetHeaders(ctx, "shop", "main")).Headers, map[string]string{"X-Till": "3"})
	all := models.EndpointHeadersIn{Headers: map[string]string{"X-Till": "4"}}
	succeed(api.Endpoint.UpdateHeaders(ctx, "shop", "main", all))
	shown = must(api.Endpoint.GetHeaders(ctx, "shop", "main"))
	same([]any{shown.Headers, len(shown.Sensitive)}, []any{all.Headers, 0})
	listed := must(api.Endpoint.List(ctx, "shop", nil))
	same([]any{len(listed.Data), listed.Data[0].Id}, []any{1, made.Id})
	same(must(api.Endpoint.Get(ctx, "shop", "main")).Id, made.Id)
	return made.Id
}

func rotate(api *svix.Svix) []string {
	step("a secret is rotated")
	old := must(api.Endpoint.GetSecret(ctx, "shop", "main")).Key
	succeed(api.Endpoint.RotateSecret(ctx, "shop", "main", models.EndpointSecretRotateIn{}, nil))
	fresh := must(api.Endpoint.GetSecret(ctx, "shop", "main")).Key
	ok(old != fresh, "the secret is the old one")
	return []string{old, fresh}
}

func verify(received request, secrets []string) {
	for _, secret := range secrets {
		webhook := must(svix.NewWebhook(secret))
		succeed(webhook.Verify(received.body, received.headers))
		forged := append(append([]byte{}, received.body...), ' ')
		ok(webhook.Verify(forged, received.headers) != nil, "a forged body was taken for genuine")
	}
}

func message(n int) models.MessageIn {
	return models.MessageIn{
		EventType: "order.paid",
		EventId:   ptr(fmt.Sprintf("order-%d", n)),
		Payload:   map[string]any{"order": float64(n), "name": "Jürgen 👋"},
		Channels:  []string{"eu"},
		Tags:      []string{"till", fmt.Sprintf("n%d", n)},
	}
}

func messages(api *svix.Svix, to *receiver, secrets []string) string {
	step("a message arrives, verified")
	keyed := svix.MessageCreateOptions{IdempotencyKey: ptr("order-1"), WithContent: ptr(true)}
	sent := must(api.Message.Create(ctx, "shop", message(1), &keyed))
	same(must(api.Message.Create(ctx, "shop", message(1), &keyed)).Id, sent.Id)
	same([]any{*sent.EventId, sent.Tags, sent.Channels}, []any{"order-1", []string{"till", "n1"}, []string{"eu"}})
	same(sent.Payload, message(1).Payload)
	_, err := api.Message.Create(ctx, "shop", message(1), nil)
	refused(409, "conflict", err)
	received := to.next()
	same([]any{received.headers.Get("webhook-id"), received.headers.Get("X-Till")}, []any{sent.Id, "4"})
	verify(received, secrets)
	step("messages are read")
	for _, key := range []string{sent.Id, "order-1"} {
		read := must(api.Message.Get(ctx, "shop", key, &svix.MessageGetOptions{WithContent: ptr(true)}))
		same([]any{read.Id, read.Payload}, []any{sent.Id, message(1).Payload})
	}
	bare := must(api.Message.Get(ctx, "shop", sent.Id, &svix.MessageGetOptions{WithContent: ptr(false)}))
	same(bare.Payload, map[string]any{})
	second := must(api.Message.Create(ctx, "shop", message(2), nil))
	verify(to.next(), secrets)
	options := svix.MessageListOptions{Limit: ptr(uint64(1)), Tag: ptr("till")}
	var page *models.ListResponseMessageOut
	eventually("the second message to be listed", func() bool {
		page = must(api.Message.List(ctx, "shop", &options))
		return len(page.Data) == 1 && page.Data[0].Id == second.Id
	})
	ok(!page.Done, "there is a first message, too")
	options.Iterator = page.Iterator
	rest := must(api.Message.List(ctx, "shop", &options))
	same([]any{len(rest.Data), rest.Data[0].Id, rest.Done}, []any{1, sent.Id, true})
	filter := svix.MessageListOptions{EventTypes: &[]string{"order.paid"}, Tag: ptr("n2")}
	kept := must(api.Message.List(ctx, "shop", &filter))
	same([]any{len(kept.Data), kept.Data[0].Id}, []any{1, second.Id})
	return sent.Id
}

func attempts(api *svix.Svix, sent, endpoint string) string {
	step("attempts are read")
	var one models.MessageAttemptOut
	eventually("an attempt", func() bool {
		options := svix.MessageAttemptListByMsgOptions{WithContent: ptr(true)}
		listed := must(api.MessageAttempt.ListByMsg(ctx, "shop", sent, &options))
		if len(listed.Data) == 0 {
			return false
		}
		one = listed.Data[0]
		return true
	})
	same([]any{one.MsgId, one.EndpointId, int(one.ResponseStatusCode)}, []any{sent, endpoint, 200})
	same([]any{int(one.Status), int(one.TriggerType), one.Response}, []any{0, 0, "received"})
	same(must(api.MessageAttempt.Get(ctx, "shop", sent, one.Id, nil)).Id, one.Id)
	eventually("attempts of both messages", func() bool {
		options := svix.MessageAttemptListByEndpointOptions{
			Limit: ptr(uint64(1)), Status: ptr(models.MESSAGESTATUS_SUCCESS), WithMsg: ptr(true),
		}
		page := must(api.MessageAttempt.ListByEndpoint(ctx, "shop", "main", &options))
		if page.Done || len(page.Data) == 0 {
			return false
		}
		same(*page.Data[0].Msg.EventId, "order-2")
		options.Iterator = page.Iterator
		same(must(api.MessageAttempt.ListByEndpoint(ctx, "shop", "main", &options)).Data[0].Id, one.Id)
		return true
	})
	destinations := must(api.MessageAttempt.ListAttemptedDestinations(ctx, "shop", sent, nil)).Data
	same([]any{len(destinations), destinations[0].Id, int(destinations[0].Status)}, []any{1, endpoint, 0})
	tried := must(api.MessageAttempt.ListAttemptedMessages(ctx, "shop", "main", nil)).Data
	same([]any{len(tried), *tried[0].EventId, *tried[1].EventId}, []any{2, "order-2", "order-1"})
	return one.Id
}

func resend(api *svix.Svix, to *receiver, secrets []string, sent string) {
	step("resend")
	must(api.MessageAttempt.Resend(ctx, "shop", sent, "main", nil))
	received := to.next()
	same(received.headers.Get("webhook-id"), sent)
	verify(received, secrets)
	eventually("the attempt made by hand", func() bool {
		listed := must(api.MessageAttempt.ListByMsg(ctx, "shop", sent, nil)).Data
		return len(listed) == 2 && listed[0].TriggerType == 1 && listed[1].TriggerType == 0
	})
}

func recoverFailed(api *svix.Svix, to *receiver, secrets []string) {
	step("what failed is recovered")
	since := time.Now().Add(-time.Hour)
	to.status.Store(500)
	sent := must(api.Message.Create(ctx, "shop", message(3), nil))
	eventually("the message to be given up", func() bool {
		at := must(api.MessageAttempt.ListAttemptedDestinations(ctx, "shop", sent.Id, nil)).Data
		return len(at) == 1 && at[0].Status == models.MESSAGESTATUS_FAIL && at[0].NextAttempt == nil
	})
	to.status.Store(200)
	to.forget()
	task := must(api.Endpoint.Recover(ctx, "shop", "main", models.RecoverIn{Since: since}, nil))
	ok(strings.HasPrefix(task.Id, "qtask_"), task.Id)
	received := to.next()
	same(received.headers.Get("webhook-id"), sent.Id)
	verify(received, secrets)
	eventually("the task to finish", func() bool {
		read := must(api.BackgroundTask.Get(ctx, task.Id))
		same(string(read.Task), "endpoint.recover")
		return read.Status == "finished"
	})
}

func statistics(api *svix.Svix) {
	step("statistics")
	now := time.Now()
	options := svix.EndpointGetStatsOptions{Since: ptr(now.Add(-24 * time.Hour)), Until: ptr(now.Add(time.Hour))}
	eventually("three messages to be counted", func() bool {
		stats := must(api.Endpoint.GetStats(ctx, "shop", "main", &options))
		return stats.Success == 3 && stats.Fail == 0 && stats.Pending == 0 && stats.Sending == 0
	})
	options.Since = ptr(now.Add(-60 * 24 * time.Hour))
	_, err := api.Endpoint.GetStats(ctx, "shop", "main", &options)
	refused(400, "invalid_range", err)
}

func example(api *svix.Svix, to *receiver, secrets []string) {
	step("an example")
	wanted := models.EventExampleIn{EventType: "svix.ping"}
	sent := must(api.Endpoint.SendExample(ctx, "shop", "main", wanted, nil))
	received := to.next()
	same(received.headers.Get("webhook-id"), sent.Id)
	verify(received, secrets)
}

func asText(api *svix.Svix, to *receiver, secrets []string) {
	step("a payload that is text")
	text := `{ "order": 4.0 }`
	wanted := svix.NewMessageInRaw("order.paid", text, nil)
	wanted.Channels = []string{"eu"}
	sent := must(api.Message.Create(ctx, "shop", *wanted, nil))
	received := to.next()
	same([]any{received.headers.Get("webhook-id"), string(received.body)}, []any{sent.Id, text})
	verify(received, secrets)
}

func portal(api *svix.Svix) {
	step("the customer's own access")
	wanted := models.AppPortalAccessIn{Expiry: ptr(uint64(3600))}
	access := must(api.Authentication.AppPortalAccess(ctx, "shop", wanted, nil))
	ok(strings.HasSuffix(access.Url, access.Token), access.Url)
	customer := client(access.Token)
	listed := must(customer.Endpoint.List(ctx, "shop", nil)).Data
	same([]any{len(listed), *listed[0].Uid}, []any{1, "main"})
	_, err := customer.Application.List(ctx, nil)
	refused(403, "insufficient_access", err)
	_, err = customer.Endpoint.List(ctx, "other", nil)
	refused(404, "not_found", err)
	succeed(customer.Authentication.Logout(ctx, nil))
	eventually("the token to be revoked", func() bool {
		_, err := customer.Endpoint.List(ctx, "shop", nil)
		if err != nil {
			refused(401, "authentication_failed", err)
		}
		return err != nil
	})
}

func patches(api *svix.Svix) {
	step("absent keeps, null clears")
	metadata := map[string]string{"team": "till"}
	patch := models.EndpointPatch{Description: ptr("Till 2"), ThrottleRate: utils.NewNullable(uint16(500))}
	kept := must(api.Endpoint.Patch(ctx, "shop", "main", patch))
	same([]any{kept.Description, kept.Channels, kept.Metadata}, []any{"Till 2", []string{"eu"}, metadata})
	same(*kept.ThrottleRate, uint16(500))
	cleared := must(api.Endpoint.Patch(ctx, "shop", "main", models.EndpointPatch{
		Channels:     utils.NewNullableFromPtr[[]string](nil),
		ThrottleRate: utils.NewNullableFromPtr[uint16](nil),
	}))
	ok(cleared.Channels == nil && cleared.ThrottleRate == nil, "null did not clear")
	same([]any{cleared.Description, cleared.Metadata, *cleared.Uid}, []any{"Till 2", metadata, "main"})
	_, err := api.Endpoint.Patch(ctx, "shop", "main", models.EndpointPatch{Url: ptr("nowhere")})
	invalid("url", err)
	renamed := must(api.Application.Patch(ctx, "other", models.ApplicationPatch{Name: ptr("Renamed")}))
	same([]any{renamed.Name, *renamed.Uid}, []any{"Renamed", "other"})
	nameless := models.ApplicationPatch{Uid: utils.NewNullableFromPtr[string](nil)}
	ok(must(api.Application.Patch(ctx, renamed.Id, nameless)).Uid == nil, "null did not clear the uid")
	succeed(api.Application.Delete(ctx, renamed.Id))
}

func refusals(api *svix.Svix) {
	step("errors")
	_, err := client("nonsense").Application.List(ctx, nil)
	refused(401, "authentication_failed", err)
	_, err = api.Application.Get(ctx, "nobody")
	refused(404, "not_found", err)
	_, err = api.Message.Get(ctx, "shop", "msg_nothing", nil)
	refused(404, "not_found", err)
	slow := models.ApplicationIn{Name: "Slow", Uid: ptr("slow"), ThrottleRate: ptr(uint16(1))}
	must(api.Application.Create(ctx, slow, nil))
	sent := models.MessageIn{EventType: "order.paid", Payload: map[string]any{}}
	for err, n := error(nil), 0; ; n++ {
		if _, err = api.Message.Create(ctx, "slow", sent, nil); err != nil || n == 20 {
			refused(429, "rate_limited", err)
			return
		}
	}
}

func deletions(api *svix.Svix, sent, attempt string) {
	step("deletions")
	succeed(api.MessageAttempt.ExpungeContent(ctx, "shop", sent, attempt))
	succeed(api.Message.ExpungeContent(ctx, "shop", sent))
	read := must(api.Message.Get(ctx, "shop", sent, &svix.MessageGetOptions{WithContent: ptr(true)}))
	same(read.Payload, map[string]any{"expired": true})
	_, err := api.MessageAttempt.Resend(ctx, "shop", sent, "main", nil)
	refused(400, "missing_payload", err)
	succeed(api.Endpoint.Delete(ctx, "shop", "main"))
	_, err = api.Endpoint.Get(ctx, "shop", "main")
	refused(404, "not_found", err)
	succeed(api.EventType.Delete(ctx, "order.paid", &svix.EventTypeDeleteOptions{Expunge: ptr(true)}))
	_, err = api.EventType.Get(ctx, "order.paid")
	refused(404, "not_found", err)
	succeed(api.Application.Delete(ctx, "shop"))
	_, err = api.Application.Get(ctx, "shop")
	refused(404, "not_found", err)
}

func main() {
	api := client(os.Getenv("POSTRIDER_TOKEN"))
	step("health")
	succeed(api.Health.Get(ctx))
	to := startReceiver()
	defer to.Close()
	applications(api)
	eventTypes(api)
	endpoint := endpoints(api, to)
	secrets := rotate(api)
	sent := messages(api, to, secrets)
	attempt := attempts(api, sent, endpoint)
	resend(api, to, secrets, sent)
	recoverFailed(api, to, secrets)
	statistics(api)
	example(api, to, secrets)
	asText(api, to, secrets)
	portal(api)
	patches(api)
	refusals(api)
	deletions(api, sent, attempt)
}
