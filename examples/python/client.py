"""A client of Kith over gRPC: signs in, reads all pages of a list, reads why a call was refused
and which field is to blame, gives calls a deadline, and watches what happens through every
interruption.

KITH_ADDRESS is host:port, KITH_USERNAME and KITH_PASSWORD are of a user without a second factor.
"""

import os
import time

import grpc
from grpc_status import rpc_status

from buf.validate import validate_pb2
from kith.access.v1 import role_pb2
from kith.activity.v1 import activity_service_pb2, activity_service_pb2_grpc
from kith.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from kith.contact.v1 import contact_pb2, contact_service_pb2, contact_service_pb2_grpc
from kith.error.v1 import error_pb2


class Session:
    """The tokens of a sign-in."""

    def __init__(self, channel, username, password):
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        request = auth_service_pb2.LoginRequest(identifier=username, password=password)
        answer = self.auth.Login(request, timeout=10)
        # A user with a second factor gets a challenge, which CompleteLogin answers.
        if not answer.HasField("signed_in"):
            raise RuntimeError("the sign-in has another step")
        self.user, self.tokens = answer.signed_in.user, answer.signed_in.tokens

    def refresh(self):
        """Take new tokens. A refresh token works once."""
        request = auth_service_pb2.RefreshAccessTokenRequest(refresh_token=self.tokens.refresh_token)
        self.tokens = self.auth.RefreshAccessToken(request, timeout=10).tokens

    @property
    def metadata(self):
        return [("authorization", "Bearer " + self.tokens.access_token)]


def details_of(error, kind):
    """The details of a refusal that are messages of a kind."""
    found = []
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def reason_of(error):
    """Why a call was refused."""
    reasons = [detail.reason for detail in details_of(error, error_pb2.ErrorDetail)]
    return error_pb2.ErrorReason.Name(reasons[0] if reasons else 0)


def fields_of(error):
    """The fields of a request that break a rule, and the rules."""
    for violations in details_of(error, validate_pb2.Violations):
        for violation in violations.violations:
            path = [
                f"{element.field_name}[{element.index}]" if element.HasField("index") else element.field_name
                for element in violation.field.elements
            ]
            yield ".".join(path) + " " + violation.rule_id


def all_contacts(session, contacts):
    """Every contact, page by page."""
    request = contact_service_pb2.ListContactsRequest(page_size=2)
    while True:
        page = contacts.ListContacts(request, metadata=session.metadata, timeout=10)
        yield from page.contacts
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def watch(session, activity):
    """What the user does, each activity once, until the session has ended."""
    request = activity_service_pb2.WatchUserActivityRequest(user_id=session.user.id)
    pause = 0
    while True:
        time.sleep(pause)
        try:
            for message in activity.WatchUserActivity(request, metadata=session.metadata):
                pause = 0
                if not request.after_cursor:
                    print("watching", flush=True)
                # To go on from here in another process, keep the cursor with what came of the activity.
                request.after_cursor = message.cursor
                if message.HasField("activity"):
                    yield message.activity
        except grpc.RpcError as error:
            code, reason = error.code(), reason_of(error)
            if code == grpc.StatusCode.UNAUTHENTICATED and reason == "ERROR_REASON_ACCESS_TOKEN_EXPIRED":
                session.refresh()
            elif code == grpc.StatusCode.OUT_OF_RANGE:
                request.after_cursor = ""  # older than what is kept: what lies between is in ListUserActivity, if anywhere
            elif code not in AGAIN:
                raise
        pause = min(2 * pause + 0.05, 5)


# The connection was cut, or the server stops or is busy: again, from the last cursor.
AGAIN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}

with grpc.insecure_channel(os.environ["KITH_ADDRESS"]) as channel:
    session = Session(channel, os.environ["KITH_USERNAME"], os.environ["KITH_PASSWORD"])
    print("signed in as", session.user.username, role_pb2.Role.Name(session.user.role))

    contacts = contact_service_pb2_grpc.ContactServiceStub(channel)
    print("contacts", ", ".join(contact.given_name for contact in all_contacts(session, contacts)))

    # A refusal has a code, a reason to branch on, and for a request that breaks the rules the fields.
    try:
        contacts.ListContacts(contact_service_pb2.ListContactsRequest(), timeout=10)
    except grpc.RpcError as error:
        print("refused", error.code().name, reason_of(error))
    wrong = contact_service_pb2.CreateContactRequest(emails=[contact_pb2.EmailAddress(address="nobody")])
    try:
        contacts.CreateContact(wrong, metadata=session.metadata, timeout=10)
    except grpc.RpcError as error:
        print("refused", error.code().name, reason_of(error), ", ".join(fields_of(error)))

    # The deadline travels with the call, so that the server stops too. A watch would never end.
    activity = activity_service_pb2_grpc.ActivityServiceStub(channel)
    mine = activity_service_pb2.WatchUserActivityRequest(user_id=session.user.id)
    try:
        for _ in activity.WatchUserActivity(mine, metadata=session.metadata, timeout=0.3):
            pass
    except grpc.RpcError as error:
        print("ended", error.code().name)

    for seen in watch(session, activity):
        print("saw", seen.action, flush=True)
