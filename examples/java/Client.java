import com.google.protobuf.Any;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import kith.activity.v1.ActivityServiceGrpc;
import kith.activity.v1.WatchUserActivityRequest;
import kith.auth.v1.AuthServiceGrpc;
import kith.auth.v1.UserMeRequest;
import kith.contact.v1.Contact;
import kith.contact.v1.ContactServiceGrpc;
import kith.contact.v1.CreateContactRequest;
import kith.error.v1.ErrorDetail;
import kith.user.v1.User;

/** A client of Kith over gRPC. KITH_ADDRESS is host:port, KITH_TOKEN an access token or an API key. */
public final class Client {
  private Client() {}

  public static void main(String[] args) throws Exception {
    ManagedChannel channel =
        Grpc.newChannelBuilder(System.getenv("KITH_ADDRESS"), InsecureChannelCredentials.create()).build();
    Metadata headers = new Metadata();
    headers.put(
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + System.getenv("KITH_TOKEN"));
    var signedIn = MetadataUtils.newAttachHeadersInterceptor(headers);
    try {
      var auth = AuthServiceGrpc.newBlockingStub(channel);
      User me = auth.withInterceptors(signedIn).userMe(UserMeRequest.getDefaultInstance()).getUser();
      System.out.println("signed in as " + me.getUsername() + " " + me.getRole());

      Contact created =
          ContactServiceGrpc.newBlockingStub(channel)
              .withInterceptors(signedIn)
              .createContact(
                  CreateContactRequest.newBuilder().setGivenName("Ada").setFamilyName("Lovelace").build())
              .getContact();
      System.out.println("created " + created.getGivenName() + " " + created.getFamilyName());

      var watch =
          ActivityServiceGrpc.newBlockingStub(channel)
              .withInterceptors(signedIn)
              .watchUserActivity(WatchUserActivityRequest.newBuilder().setUserId(me.getId()).build());
      System.out.println("watching " + !watch.next().getCursor().isEmpty());

      try {
        auth.userMe(UserMeRequest.getDefaultInstance());
      } catch (StatusRuntimeException refusal) {
        for (Any detail : StatusProto.fromThrowable(refusal).getDetailsList()) {
          if (detail.is(ErrorDetail.class)) {
            String code = refusal.getStatus().getCode().name();
            System.out.println(
                "refused " + code.charAt(0) + code.substring(1).toLowerCase() + " "
                    + detail.unpack(ErrorDetail.class).getReason());
          }
        }
      }
    } finally {
      channel.shutdownNow();
    }
  }
}
