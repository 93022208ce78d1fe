import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.BatchApi;
import org.openapitools.client.api.CommunicationsApi;
import org.openapitools.client.api.MeApi;
import org.openapitools.client.api.UsersApi;
import org.openapitools.client.model.BatchItem;
import org.openapitools.client.model.BatchItemResponse;
import org.openapitools.client.model.BatchRequest;
import org.openapitools.client.model.ClearPresenceRequest;
import org.openapitools.client.model.ErrorContent;
import org.openapitools.client.model.GetPresencesByUserIdRequest;
import org.openapitools.client.model.DateTimeTimeZoneRequest;
import org.openapitools.client.model.ItemBodyRequest;
import org.openapitools.client.model.StatusMessageRequest;
import org.openapitools.client.model.Presence;
import org.openapitools.client.model.SetPresenceRequest;
import org.openapitools.client.model.SetStatusMessageRequest;
import org.openapitools.client.model.SetUserPreferredPresenceRequest;

/**
 * Calls the service with the client that openapi-generator made of its document (generator java). Prints
 * "passed" at the end. PRESENCE_URL, PRESENCE_USER, and the tokens of the user and of an application are in
 * the environment.
 */
public final class Generated {
  private static final String USER = System.getenv("PRESENCE_USER");
  private static final String SESSION = System.getenv("PRESENCE_APP");

  private interface Call {
    void run() throws ApiException;
  }

  private static ApiClient client(String token) {
    ApiClient client = new ApiClient();
    client.setBasePath(System.getenv("PRESENCE_URL") + "/v1.0");
    client.setBearerToken(System.getenv(token));
    return client;
  }

  private static void check(boolean holds, Object value) {
    if (!holds) {
      throw new AssertionError(value);
    }
  }

  private static void isPresenting(Presence presence) {
    check(USER.equals(presence.getId()), presence);
    check(presence.getAvailability() == Presence.AvailabilityEnum.DO_NOT_DISTURB, presence);
    check(presence.getActivity() == Presence.ActivityEnum.PRESENTING, presence);
  }

  /** Checks that the call fails so. Returns the error. */
  private static ErrorContent refused(Call call, int status, String code) throws Exception {
    try {
      call.run();
    } catch (ApiException refusal) {
      ErrorContent error =
          org.openapitools.client.model.Error.fromJson(refusal.getResponseBody()).getError();
      check(refusal.getCode() == status && code.equals(error.getCode()), error);
      return error;
    }
    throw new AssertionError("no error " + status);
  }

  public static void main(String[] arguments) throws Exception {
    ApiClient application = client("PRESENCE_APP_TOKEN");
    ApiClient user = client("PRESENCE_TOKEN");
    UsersApi users = new UsersApi(application);
    CommunicationsApi communications = new CommunicationsApi(application);
    MeApi me = new MeApi(user);

    // A session.
    SetPresenceRequest set =
        new SetPresenceRequest()
            .sessionId(SESSION)
            .availability(SetPresenceRequest.AvailabilityEnum.DO_NOT_DISTURB)
            .activity(SetPresenceRequest.ActivityEnum.PRESENTING)
            .expirationDuration("PT1H")
            .observedDateTime(OffsetDateTime.now(ZoneOffset.UTC).minusSeconds(1));
    users.setPresence(USER, set, null);
    GetPresencesByUserIdRequest ids = new GetPresencesByUserIdRequest().addIdsItem(USER);
    isPresenting(users.getPresence(USER, null, null, null));
    isPresenting(communications.getPresenceById(USER, null, null, null));
    isPresenting(me.getPresenceOfMe(null, null, null));
    isPresenting(communications.batchGetPresences(ids, null, null, null).getValue().get(0));
    isPresenting(communications.listPresences(null, 10, null, null, null, null).getValue().get(0));
    check("1".equals(communications.countPresences(null, null, null)), "count");

    // A pair that is not allowed.
    SetPresenceRequest wrong =
        new SetPresenceRequest()
            .sessionId(SESSION)
            .availability(SetPresenceRequest.AvailabilityEnum.AVAILABLE)
            .activity(SetPresenceRequest.ActivityEnum.IN_A_CALL);
    ErrorContent error = refused(() -> users.setPresence(USER, wrong, null), 400, "InvalidArgument");
    check(!error.getDetails().isEmpty() && error.getInnerError().getRequestId() != null, error);

    // The user.
    check("Megan Bowen".equals(me.getMe(null, null).getDisplayName()), me.getMe(null, null));
    check(me.getMe(List.of("id"), null).getDisplayName() == null, "select");
    OffsetDateTime inAnHour = OffsetDateTime.now(ZoneOffset.UTC).plusHours(1);
    String ends = inAnHour.format(DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss"));
    StatusMessageRequest message =
        new StatusMessageRequest()
            .message(new ItemBodyRequest().content("In the workshop").contentType("text"))
            .expiryDateTime(new DateTimeTimeZoneRequest().dateTime(ends).timeZone("UTC"));
    me.setStatusMessageOfMe(new SetStatusMessageRequest().statusMessage(message), null);
    Presence own = me.getPresenceOfMe(null, null, null);
    check("In the workshop".equals(own.getStatusMessage().getMessage().getContent()), own);
    check(own.getStatusMessage().getExpiryDateTime().getDateTime().startsWith(ends), own);
    SetUserPreferredPresenceRequest preferred =
        new SetUserPreferredPresenceRequest()
            .availability(SetUserPreferredPresenceRequest.AvailabilityEnum.OFFLINE)
            .activity(SetUserPreferredPresenceRequest.ActivityEnum.OFF_WORK);
    me.setUserPreferredPresenceOfMe(preferred, null);
    check(me.getPresenceOfMe(null, null, null).getActivity() == Presence.ActivityEnum.OFF_WORK, own);
    me.clearUserPreferredPresenceOfMe(null);

    // A batch, and the extensions.
    BatchItem clearMe = new BatchItem().id("2").method("POST").url("/me/presence/clearPresence");
    BatchRequest batch =
        new BatchRequest()
            .addRequestsItem(new BatchItem().id("1").method("GET").url("/me"))
            .addRequestsItem(clearMe.body(Map.of("sessionId", "undefined")));
    List<BatchItemResponse> responses = new BatchApi(user).batch(batch, null).getResponses();
    check(responses.get(0).getStatus() == 200 && responses.get(1).getStatus() == 400, responses);
    check(
        SESSION.equals(users.explainPresence(USER, null, null).getSessions().get(0).getSessionId()),
        "explanation");
    check(
        users.listPresenceHistory(USER, null, null, null, null, null, null).getValue().size() >= 2,
        "history");

    ClearPresenceRequest clear = new ClearPresenceRequest().sessionId(SESSION);
    users.clearPresence(USER, clear, null);
    refused(() -> users.clearPresence(USER, clear, null), 404, "NotFound");
    System.out.println("passed");
    // The HTTP client's threads would run on for a minute.
    System.exit(0);
  }
}
