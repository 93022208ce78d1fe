import com.microsoft.graph.core.models.DecryptableContent;
import com.microsoft.graph.core.models.TokenValidable;
import com.microsoft.graph.models.ChangeNotificationCollection;
import com.microsoft.graph.models.Presence;
import com.microsoft.kiota.serialization.JsonParseNodeFactory;
import com.microsoft.kiota.serialization.ParseNodeFactoryRegistry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;
import java.util.UUID;

/**
 * Verifies the tokens of a notification and decrypts its presences with the official SDK alone:
 * java Notification FILE KEY TENANT APPLICATION KEYS_URL. KEY is a private key in PEM.
 */
public class Notification {
    public static void main(String[] arguments) throws Exception {
        var json = new JsonParseNodeFactory();
        ParseNodeFactoryRegistry.defaultInstance.contentTypeAssociatedFactories.put("application/json", json);
        var key = privateKey(Files.readString(Path.of(arguments[1])));
        ChangeNotificationCollection notifications;
        try (var file = Files.newInputStream(Path.of(arguments[0]))) {
            notifications = json.getParseNode("application/json", file)
                    .getObjectValue(ChangeNotificationCollection::createFromDiscriminatorValue);
        }
        var tenants = List.of(UUID.fromString(arguments[2]));
        var applications = List.of(UUID.fromString(arguments[3]));
        if (!TokenValidable.areTokensValid(notifications, tenants, applications, arguments[4])) {
            throw new IllegalStateException("the tokens are invalid");
        }
        System.out.println("-- tokens: " + notifications.getValidationTokens().size());
        for (var notification : notifications.getValue()) {
            Presence presence = DecryptableContent.decrypt(
                    notification.getEncryptedContent(),
                    (id, thumbprint) -> key,
                    Presence::createFromDiscriminatorValue);
            System.out.println(presence.getId() + " " + presence.getAvailability() + " " + presence.getActivity());
        }
    }

    private static PrivateKey privateKey(String pem) throws Exception {
        var base64 = pem.replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        var spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64));
        return KeyFactory.getInstance("RSA").generatePrivate(spec);
    }
}
