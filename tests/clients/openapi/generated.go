// Calls the service with the client that openapi-generator made of its document (generator go). Prints
// "passed" at the end. PRESENCE_URL, PRESENCE_USER, and the tokens of the user and of an application are in
// the environment.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	client "example.com/test/presence"
)

func check(holds bool, values ...any) {
	if !holds {
		panic(fmt.Sprintln(values...))
	}
}

func done(response *http.Response, err error) {
	check(err == nil && response.StatusCode == 200, err)
}

// refused checks that a call failed so, and returns the error.
func refused(err error, status int32, code string) client.ErrorContent {
	failure, is := err.(*client.GenericOpenAPIError)
	check(is, err)
	model, is := failure.Model().(client.Error)
	check(is, string(failure.Body()))
	check(strings.HasPrefix(failure.Error(), fmt.Sprint(status)) && model.Error.Code == code, failure, code)
	return model.Error
}

func main() {
	user, session := os.Getenv("PRESENCE_USER"), os.Getenv("PRESENCE_APP")
	configuration := client.NewConfiguration()
	configuration.Servers = client.ServerConfigurations{{URL: os.Getenv("PRESENCE_URL") + "/v1.0"}}
	api := client.NewAPIClient(configuration)
	with := func(token string) context.Context {
		return context.WithValue(context.Background(), client.ContextAccessToken, os.Getenv(token))
	}
	application, own := with("PRESENCE_APP_TOKEN"), with("PRESENCE_TOKEN")

	// A session.
	set := client.SetPresenceRequest{SessionId: session, Availability: "DoNotDisturb", Activity: "Presenting"}
	set.SetExpirationDuration("PT1H")
	set.SetObservedDateTime(time.Now().Add(-time.Second))
	done(api.UsersAPI.SetPresence(application, user).SetPresenceRequest(set).Execute())
	shown := func(presence *client.Presence, response *http.Response, err error) {
		done(response, err)
		pair := presence.GetAvailability() + "/" + presence.GetActivity()
		check(presence.GetId() == user && pair == "DoNotDisturb/Presenting", *presence)
	}
	shown(api.UsersAPI.GetPresence(application, user).Execute())
	shown(api.CommunicationsAPI.GetPresenceById(application, user).Execute())
	shown(api.MeAPI.GetPresenceOfMe(own).Execute())
	ids := client.GetPresencesByUserIdRequest{Ids: []string{user}}
	many, response, err := api.CommunicationsAPI.BatchGetPresences(application).
		GetPresencesByUserIdRequest(ids).Execute()
	shown(&many.Value[0], response, err)
	page, response, err := api.CommunicationsAPI.ListPresences(application).Top(10).Execute()
	shown(&page.Value[0], response, err)
	count, response, err := api.CommunicationsAPI.CountPresences(application).Execute()
	done(response, err)
	check(count == "1", count)

	// A pair that is not allowed.
	wrong := client.SetPresenceRequest{SessionId: session, Availability: "Available", Activity: "InACall"}
	_, err = api.UsersAPI.SetPresence(application, user).SetPresenceRequest(wrong).Execute()
	refusal := refused(err, 400, "InvalidArgument")
	check(len(refusal.Details) > 0 && refusal.InnerError.RequestId != "", refusal)

	// The user.
	described, response, err := api.MeAPI.GetMe(own).Execute()
	done(response, err)
	check(described.GetId() == user && described.GetDisplayName() == "Megan Bowen", *described)
	check(described.GetMail() == "", *described)
	ends := time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05")
	expiry := client.DateTimeTimeZoneRequest{DateTime: ends}
	message := client.StatusMessageRequest{Message: client.ItemBodyRequest{Content: "In the workshop"}}
	expiry.SetTimeZone("UTC")
	message.SetExpiryDateTime(expiry)
	status := client.SetStatusMessageRequest{StatusMessage: message}
	done(api.MeAPI.SetStatusMessageOfMe(own).SetStatusMessageRequest(status).Execute())
	presence, response, err := api.MeAPI.GetPresenceOfMe(own).Execute()
	done(response, err)
	read := presence.GetStatusMessage()
	check(read.Message.Content == "In the workshop", read)
	check(strings.HasPrefix(read.ExpiryDateTime.Get().DateTime, ends), read)
	preferred := client.SetUserPreferredPresenceRequest{Availability: "Offline", Activity: "OffWork"}
	done(api.MeAPI.SetUserPreferredPresenceOfMe(own).SetUserPreferredPresenceRequest(preferred).Execute())
	presence, response, err = api.MeAPI.GetPresenceOfMe(own).Execute()
	done(response, err)
	check(presence.GetActivity() == "OffWork", *presence)
	done(api.MeAPI.ClearUserPreferredPresenceOfMe(own).Execute())

	// A batch, and the extensions.
	items := []client.BatchItem{
		{Id: "1", Method: "GET", Url: "/me"},
		{Id: "2", Method: "POST", Url: "/me/presence/clearPresence", Body: map[string]any{"sessionId": "undefined"}},
	}
	batch, response, err := api.BatchAPI.Batch(own).BatchRequest(client.BatchRequest{Requests: items}).Execute()
	done(response, err)
	check(batch.Responses[0].Status == 200 && batch.Responses[1].Status == 400, *batch)
	explained, response, err := api.UsersAPI.ExplainPresence(application, user).Execute()
	done(response, err)
	check(explained.Sessions[0].SessionId == session, *explained)
	history, response, err := api.UsersAPI.ListPresenceHistory(application, user).Execute()
	done(response, err)
	check(len(history.Value) >= 2, *history)

	clear := client.ClearPresenceRequest{SessionId: session}
	done(api.UsersAPI.ClearPresence(application, user).ClearPresenceRequest(clear).Execute())
	_, err = api.UsersAPI.ClearPresence(application, user).ClearPresenceRequest(clear).Execute()
	refused(err, 404, "NotFound")
	fmt.Println("passed")
}
