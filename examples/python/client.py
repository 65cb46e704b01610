"""A client of Kith over gRPC. KITH_ADDRESS is host:port, KITH_TOKEN an access token or an API key."""

import os

import grpc
from grpc_status import rpc_status

from kith.access.v1 import role_pb2
from kith.activity.v1 import activity_service_pb2, activity_service_pb2_grpc
from kith.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from kith.contact.v1 import contact_service_pb2, contact_service_pb2_grpc
from kith.error.v1 import error_pb2

signed_in = [("authorization", "Bearer " + os.environ["KITH_TOKEN"])]

with grpc.insecure_channel(os.environ["KITH_ADDRESS"]) as channel:
    auth = auth_service_pb2_grpc.AuthServiceStub(channel)
    me = auth.UserMe(auth_service_pb2.UserMeRequest(), metadata=signed_in, timeout=30).user
    print("signed in as", me.username, role_pb2.Role.Name(me.role))

    contacts = contact_service_pb2_grpc.ContactServiceStub(channel)
    ada = contact_service_pb2.CreateContactRequest(given_name="Ada", family_name="Lovelace")
    created = contacts.CreateContact(ada, metadata=signed_in, timeout=30).contact
    print("created", created.given_name, created.family_name)

    activity = activity_service_pb2_grpc.ActivityServiceStub(channel)
    mine = activity_service_pb2.WatchUserActivityRequest(user_id=me.id)
    watch = activity.WatchUserActivity(mine, metadata=signed_in, timeout=30)
    print("watching", str(next(watch).cursor != "").lower())
    watch.cancel()

    try:
        auth.UserMe(auth_service_pb2.UserMeRequest(), timeout=30)
    except grpc.RpcError as error:
        for detail in rpc_status.from_call(error).details:
            why = error_pb2.ErrorDetail()
            if detail.Unpack(why):
                print("refused", error.code().name.capitalize(), error_pb2.ErrorReason.Name(why.reason))
