import com.google.gson.Gson;
import dev.presenced.v1.Activity;
import dev.presenced.v1.Availability;
import dev.presenced.v1.GetPresenceRequest;
import dev.presenced.v1.PresenceServiceGrpc;
import dev.presenced.v1.PresenceServiceGrpc.PresenceServiceBlockingStub;
import dev.presenced.v1.SetPresenceRequest;
import io.grpc.EquivalentAddressGroup;
import io.grpc.ManagedChannel;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.NameResolverRegistry;
import io.grpc.StatusOr;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import java.io.InputStreamReader;
import java.io.Reader;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Sets and reads a presence until Enter is pressed: Client ADDRESS,ADDRESS */
public final class Client {
  /** Resolves replicas:///ADDRESS,ADDRESS. DNS does not need it. */
  static final class Replicas extends NameResolverProvider {
    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 5;
    }

    @Override
    public String getDefaultScheme() {
      return "replicas";
    }

    @Override
    public NameResolver newNameResolver(URI target, NameResolver.Args args) {
      List<EquivalentAddressGroup> addresses =
          Arrays.stream(target.getPath().substring(1).split(",")).map(Replicas::group).toList();
      return new NameResolver() {
        @Override
        public String getServiceAuthority() {
          return "presence";
        }

        @Override
        public void start(Listener2 listener) {
          listener.onResult(
              ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(addresses)).build());
        }

        @Override
        public void shutdown() {}
      };
    }

    private static EquivalentAddressGroup group(String address) {
      int colon = address.lastIndexOf(':');
      String host = address.substring(0, colon);
      int port = Integer.parseInt(address.substring(colon + 1));
      return new EquivalentAddressGroup(new InetSocketAddress(host, port));
    }
  }

  /**
   * Makes a channel to all replicas. With DNS, the target is "dns:///presence.example.com:50051". For
   * TLS, leave out usePlaintext().
   */
  static ManagedChannel connect(String target) throws Exception {
    try (Reader config = new InputStreamReader(Client.class.getResourceAsStream("/service-config.json"))) {
      @SuppressWarnings("unchecked")
      Map<String, ?> serviceConfig = new Gson().fromJson(config, Map.class);
      return NettyChannelBuilder.forTarget(target)
          .usePlaintext()
          .defaultServiceConfig(serviceConfig)
          .keepAliveTime(20, TimeUnit.SECONDS)
          .keepAliveTimeout(5, TimeUnit.SECONDS)
          .build();
    }
  }

  /** Sets and reads a presence. */
  static void call(PresenceServiceBlockingStub client) {
    PresenceServiceBlockingStub timed = client.withDeadlineAfter(10, TimeUnit.SECONDS);
    timed.setPresence(
        SetPresenceRequest.newBuilder()
            .setUserId("ada")
            .setSessionId("desk:call-1")
            .setAvailability(Availability.AVAILABILITY_BUSY)
            .setActivity(Activity.ACTIVITY_IN_A_CALL)
            .build());
    timed.getPresence(GetPresenceRequest.newBuilder().setUserId("ada").build());
  }

  public static void main(String[] arguments) throws Exception {
    NameResolverRegistry.getDefaultRegistry().register(new Replicas());
    ManagedChannel channel = connect("replicas:///" + arguments[0]);
    PresenceServiceBlockingStub client = PresenceServiceGrpc.newBlockingStub(channel);
    int calls = 0;
    int failed = 0;
    while (System.in.available() == 0) {
      try {
        call(client);
      } catch (StatusRuntimeException error) {
        failed++;
        System.out.println("-- failed: " + error.getStatus());
      }
      if (++calls % 100 == 0) {
        System.out.println("-- calls: " + calls);
      }
      Thread.sleep(5);
    }
    System.out.println("-- ended: " + calls + " calls, " + failed + " failed");
    channel.shutdownNow();
  }
}
