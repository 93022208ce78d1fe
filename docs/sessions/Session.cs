// Shows a user as in a call until Enter is pressed, over gRPC:
//
// dotnet run refresh ada desk:call-1   sets the session, and refreshes it every two minutes
// dotnet run hold ada desk:call-1      holds the session by an open stream

using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using Presenced.V1;

var call = new Call(args[1], args[2]);
_ = Task.Run(() => { Console.ReadLine(); call.End(); });
try
{
    await (args[0] == "hold" ? call.HoldAsync() : call.RefreshAsync());
    Console.WriteLine("-- cleared");
    return 0;
}
catch (RpcException error)
{
    Console.WriteLine($"-- failed: {new Details(error).Text}");
    return 1;
}

/// <summary>A call of a user, which the session shows until it ends.</summary>
class Call(string userId, string sessionId)
{
    // The service gives up after 2.8 s and says why. A shorter deadline only hides the reason.
    static readonly TimeSpan Deadline = TimeSpan.FromSeconds(3);
    // The service extends a session every 7.5 s with the default grace. A quieter stream is broken.
    static readonly TimeSpan Silence = TimeSpan.FromSeconds(15);
    static readonly TimeSpan Refresh =
        TimeSpan.FromSeconds(int.Parse(Environment.GetEnvironmentVariable("PRESENCE_REFRESH") ?? "120"));
    static readonly string Url =
        Environment.GetEnvironmentVariable("PRESENCE_URL") ?? "http://localhost:50051";

    // It connects on use, and again after a failure.
    readonly PresenceService.PresenceServiceClient client = new(GrpcChannel.ForAddress(Url));
    // When the call began. With it, a refresh or a new stream cannot undo what was observed later.
    readonly Timestamp began = Timestamp.FromDateTime(DateTime.UtcNow);
    readonly CancellationTokenSource ended = new();

    public void End() => ended.Cancel();

    /// <summary>Sets the session, and again every two minutes, because it expires after five.</summary>
    public async Task RefreshAsync()
    {
        var request = new SetPresenceRequest
        {
            UserId = userId,
            SessionId = sessionId,
            Availability = Availability.Busy,
            Activity = Activity.InACall,
            ObservedTime = began,
        };
        var pause = new Pause();
        while (!ended.IsCancellationRequested)
        {
            try
            {
                await client.SetPresenceAsync(request, Token(), DateTime.UtcNow + Deadline);
                Console.WriteLine("-- set");
                pause = new Pause();
                await WaitAsync(Refresh);
            }
            catch (RpcException error)
            {
                await WaitAsync(pause.After(error));
            }
        }
        await ClearAsync();
    }

    /// <summary>Ends the session. Every write is safe to retry.</summary>
    public async Task ClearAsync()
    {
        var request = new ClearPresenceRequest { UserId = userId, SessionId = sessionId };
        for (var pause = new Pause(); ;)
        {
            try
            {
                await client.ClearPresenceAsync(request, Token(), DateTime.UtcNow + Deadline);
                return;
            }
            catch (RpcException error) when (error.StatusCode == StatusCode.NotFound)
            {
                // The session has ended already, for example by the first try of this call.
                return;
            }
            catch (RpcException error)
            {
                await Task.Delay(pause.After(error));
            }
        }
    }

    /// <summary>Holds the session. Another stream replaces a broken one within the grace of 15 s.</summary>
    public async Task HoldAsync()
    {
        var pause = new Pause();
        while (!ended.IsCancellationRequested)
        {
            try
            {
                await HoldByOneStreamAsync(() => pause = new Pause());
                return; // The service has cleared the session.
            }
            catch (RpcException error)
            {
                await WaitAsync(pause.After(error));
            }
        }
        await ClearAsync();
    }

    async Task HoldByOneStreamAsync(Action alive)
    {
        // A new connection: the last one may be broken.
        using var channel = GrpcChannel.ForAddress(Url);
        using var silence = new CancellationTokenSource(Silence);
        using var stream = new PresenceService.PresenceServiceClient(channel)
            .HoldPresence(Token(), cancellationToken: silence.Token);
        await stream.RequestStream.WriteAsync(new HoldPresenceRequest
        {
            UserId = userId,
            SessionId = sessionId,
            Availability = Availability.Busy,
            Activity = Activity.InACall,
            ObservedTime = began,
        });
        using var ending = ended.Token.Register(() => _ = stream.RequestStream.CompleteAsync());
        while (await stream.ResponseStream.MoveNext())
        {
            silence.CancelAfter(Silence);
            var held = stream.ResponseStream.Current;
            var expiry = held.EventCase == HoldPresenceResponse.EventOneofCase.SessionSet
                ? held.SessionSet.ExpireTime
                : held.SessionExtended.ExpireTime;
            Console.WriteLine($"-- held until {expiry.ToDateTime():O}");
            alive();
        }
    }

    /// <summary>Waits for the time, or until the call has ended.</summary>
    Task WaitAsync(TimeSpan time) => Task.WhenAny(Task.Delay(time), Task.Delay(-1, ended.Token));

    /// <summary>The access token, read before each call: the last one may have expired.</summary>
    static Metadata? Token() =>
        Environment.GetEnvironmentVariable("PRESENCE_TOKEN_FILE") is { } path
            ? new Metadata { { "authorization", "Bearer " + File.ReadAllText(path).Trim() } }
            : null;
}

/// <summary>The details of an error. An error of a proxy or of the network has none.</summary>
class Details
{
    public string? Reason { get; }
    public TimeSpan? Delay { get; }
    public string Text { get; }

    public Details(RpcException error)
    {
        var fields = "";
        if (error.Trailers.GetValueBytes("grpc-status-details-bin") is { } bytes)
        {
            foreach (var detail in Google.Rpc.Status.Parser.ParseFrom(bytes).Details)
            {
                if (detail.TryUnpack(out ErrorInfo info)) Reason = info.Reason;
                if (detail.TryUnpack(out RetryInfo retry)) Delay = retry.RetryDelay.ToTimeSpan();
                if (detail.TryUnpack(out BadRequest request))
                    fields = string.Join(" ", request.FieldViolations.Select(violation => violation.Field));
            }
        }
        Text = $"{Reason ?? error.StatusCode.ToString()}: {error.Status.Detail} {fields}";
    }
}

/// <summary>The pause before a retry: the service's delay, or else longer each time.</summary>
class Pause
{
    static readonly TimeSpan Max = TimeSpan.FromSeconds(30);
    TimeSpan next = TimeSpan.FromSeconds(1);

    /// <summary>Returns the pause after an error, or throws the error if a retry cannot help.</summary>
    public TimeSpan After(RpcException error)
    {
        var details = new Details(error);
        var isFatal = error.StatusCode switch
        {
            StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.PermissionDenied
                or StatusCode.FailedPrecondition or StatusCode.Unimplemented => true,
            // It passes only if the service names a delay.
            StatusCode.ResourceExhausted => details.Delay is null,
            _ => false,
        };
        if (isFatal) throw new RpcException(error.Status, error.Trailers);
        Console.WriteLine($"-- lost: {details.Text}");
        var pause = details.Delay ?? next;
        next = next * 2 < Max ? next * 2 : Max;
        // A random addition, so that clients do not return all at once.
        return pause * (1 + Random.Shared.NextDouble() / 2);
    }
}
