// Sets and reads a presence until Enter is pressed: dotnet run ADDRESS,ADDRESS

using Grpc.Core;
using Grpc.Net.Client;
using Grpc.Net.Client.Balancer;
using Grpc.Net.Client.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Presenced.V1;

using var channel = Connect(args[0]);
var client = new PresenceService.PresenceServiceClient(channel);
var ended = Task.Run(Console.ReadLine);
var (calls, failed) = (0, 0);
while (!ended.IsCompleted)
{
    try
    {
        await CallAsync(client);
    }
    catch (RpcException error)
    {
        failed++;
        Console.WriteLine($"-- failed: {error.Status}");
    }
    if (++calls % 100 == 0) Console.WriteLine($"-- calls: {calls}");
    await Task.Delay(5);
}
Console.WriteLine($"-- ended: {calls} calls, {failed} failed");

// Makes a channel to all replicas. With DNS, the address is "dns:///presence.example.com:50051", and the
// service provider is not needed. For TLS: ChannelCredentials.SecureSsl.
static GrpcChannel Connect(string addresses)
{
    var urls = addresses.Split(',').Select(address => new Uri($"http://{address}"));
    var replicas = urls.Select(url => new BalancerAddress(url.Host, url.Port)).ToArray();
    var services = new ServiceCollection();
    services.AddSingleton<ResolverFactory>(new StaticResolverFactory(_ => replicas));
    var retry = new RetryPolicy
    {
        MaxAttempts = 5,
        InitialBackoff = TimeSpan.FromSeconds(0.1),
        MaxBackoff = TimeSpan.FromSeconds(2),
        BackoffMultiplier = 3,
        RetryableStatusCodes = { StatusCode.Unavailable, StatusCode.Unknown, StatusCode.ResourceExhausted },
    };
    return GrpcChannel.ForAddress("static:///presence", new GrpcChannelOptions
    {
        ServiceProvider = services.BuildServiceProvider(),
        Credentials = ChannelCredentials.Insecure,
        ServiceConfig = new ServiceConfig
        {
            LoadBalancingConfigs = { new RoundRobinConfig() },
            MethodConfigs = { new MethodConfig { Names = { MethodName.Default }, RetryPolicy = retry } },
        },
        HttpHandler = new SocketsHttpHandler
        {
            KeepAlivePingDelay = TimeSpan.FromSeconds(20),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(5),
            // Otherwise a stream beyond the limit of its connection waits in silence.
            EnableMultipleHttp2Connections = true,
        },
    });
}

// Sets and reads a presence.
static async Task CallAsync(PresenceService.PresenceServiceClient client)
{
    await client.SetPresenceAsync(new SetPresenceRequest
    {
        UserId = "ada",
        SessionId = "desk:call-1",
        Availability = Availability.Busy,
        Activity = Activity.InACall,
    }, deadline: DateTime.UtcNow.AddSeconds(10));
    await client.GetPresenceAsync(new GetPresenceRequest { UserId = "ada" }, deadline: DateTime.UtcNow.AddSeconds(10));
}
