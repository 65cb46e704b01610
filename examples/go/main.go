// A client of Kith over gRPC: signs in, reads all pages of a list, reads why a call was
// refused and which field is to blame, gives calls a deadline, and watches what happens
// through every interruption.
//
// KITH_ADDRESS is host:port, KITH_USERNAME and KITH_PASSWORD are of a user without a
// second factor.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	activityv1 "example.com/app/gen/kith/activity/v1"
	authv1 "example.com/app/gen/kith/auth/v1"
	contactv1 "example.com/app/gen/kith/contact/v1"
	errorv1 "example.com/app/gen/kith/error/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	conn, err := grpc.NewClient(os.Getenv("KITH_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()

	session := &session{auth: authv1.NewAuthServiceClient(conn)}
	userID, err := session.signIn(ctx, os.Getenv("KITH_USERNAME"), os.Getenv("KITH_PASSWORD"))
	if err != nil {
		return err
	}

	contacts := contactv1.NewContactServiceClient(conn)
	names, err := allContacts(session.sign(ctx), contacts)
	if err != nil {
		return err
	}
	fmt.Println("contacts", strings.Join(names, ", "))

	// A refusal has a code, a reason to branch on, and for a request that breaks the rules the fields.
	_, err = contacts.ListContacts(ctx, &contactv1.ListContactsRequest{})
	fmt.Println("refused", status.Code(err), reasonOf(err))
	wrong := &contactv1.CreateContactRequest{Emails: []*contactv1.EmailAddress{{Address: "nobody"}}}
	_, err = contacts.CreateContact(session.sign(ctx), wrong)
	fmt.Println("refused", status.Code(err), reasonOf(err), strings.Join(fieldsOf(err), ", "))

	// The deadline travels with the call, so that the server stops too. A watch would never end.
	activity := activityv1.NewActivityServiceClient(conn)
	short, cancel := context.WithTimeout(session.sign(ctx), 300*time.Millisecond)
	defer cancel()
	brief, err := activity.WatchUserActivity(short, &activityv1.WatchUserActivityRequest{UserId: userID})
	for err == nil {
		_, err = brief.Recv()
	}
	fmt.Println("ended", status.Code(err))

	return watch(ctx, session, activity, userID)
}

// allContacts reads every page.
func allContacts(ctx context.Context, contacts contactv1.ContactServiceClient) ([]string, error) {
	var names []string
	request := &contactv1.ListContactsRequest{PageSize: 2}
	for {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		page, err := contacts.ListContacts(ctx, request)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, contact := range page.GetContacts() {
			names = append(names, contact.GetGivenName())
		}
		if page.GetNextPageToken() == "" {
			return names, nil
		}
		request.PageToken = page.GetNextPageToken()
	}
}

// watch prints what the user does, each activity once, until the session has ended.
func watch(ctx context.Context, session *session, activity activityv1.ActivityServiceClient, userID string) error {
	request := &activityv1.WatchUserActivityRequest{UserId: userID}
	for pause := time.Duration(0); ; pause = min(2*pause+50*time.Millisecond, 5*time.Second) {
		time.Sleep(pause)
		stream, err := activity.WatchUserActivity(session.sign(ctx), request)
		for err == nil {
			var message *activityv1.WatchUserActivityResponse
			if message, err = stream.Recv(); err != nil {
				break
			}
			pause = 0
			if request.AfterCursor == "" {
				fmt.Println("watching")
			}
			// To go on from here in another process, keep the cursor with what came of the activity.
			request.AfterCursor = message.GetCursor()
			if message.GetActivity() != nil {
				fmt.Println("saw", message.GetActivity().GetAction())
			}
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.Internal, codes.ResourceExhausted, codes.Canceled, codes.Unknown, codes.OK:
			// The connection was cut, or the server stops or is busy: again, from the last cursor.
		case codes.Unauthenticated:
			if reasonOf(err) != errorv1.ErrorReason_ERROR_REASON_ACCESS_TOKEN_EXPIRED {
				return err
			}
			if err := session.refresh(ctx); err != nil && status.Code(err) != codes.Unavailable {
				return err
			}
		case codes.OutOfRange:
			request.AfterCursor = "" // older than what is kept: what lies between is in ListUserActivity, if anywhere
		default:
			return err
		}
	}
}

// session holds the tokens of a sign-in.
type session struct {
	auth   authv1.AuthServiceClient
	tokens *authv1.Tokens
}

func (s *session) signIn(ctx context.Context, username, password string) (userID string, err error) {
	answer, err := s.auth.Login(ctx, &authv1.LoginRequest{Identifier: username, Password: password})
	if err != nil {
		return "", err
	}
	// A user with a second factor gets a challenge, which CompleteLogin answers.
	signedIn := answer.GetSignedIn()
	if signedIn == nil {
		return "", errors.New("the sign-in has another step")
	}
	s.tokens = signedIn.GetTokens()
	fmt.Println("signed in as", signedIn.GetUser().GetUsername(), signedIn.GetUser().GetRole())
	return signedIn.GetUser().GetId(), nil
}

// refresh takes new tokens. A refresh token works once.
func (s *session) refresh(ctx context.Context) error {
	request := &authv1.RefreshAccessTokenRequest{RefreshToken: s.tokens.GetRefreshToken()}
	answer, err := s.auth.RefreshAccessToken(ctx, request)
	if err == nil {
		s.tokens = answer.GetTokens()
	}
	return err
}

func (s *session) sign(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+s.tokens.GetAccessToken())
}

// reasonOf says why a call was refused.
func reasonOf(err error) errorv1.ErrorReason {
	for _, detail := range status.Convert(err).Details() {
		if why, ok := detail.(*errorv1.ErrorDetail); ok {
			return why.GetReason()
		}
	}
	return errorv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// fieldsOf names the fields of a request that break a rule, and the rules.
func fieldsOf(err error) []string {
	var fields []string
	for _, detail := range status.Convert(err).Details() {
		violations, ok := detail.(*validate.Violations)
		if !ok {
			continue
		}
		for _, violation := range violations.GetViolations() {
			var path []string
			for _, element := range violation.GetField().GetElements() {
				name := element.GetFieldName()
				if _, ok := element.GetSubscript().(*validate.FieldPathElement_Index); ok {
					name = fmt.Sprintf("%s[%d]", name, element.GetIndex())
				}
				path = append(path, name)
			}
			fields = append(fields, strings.Join(path, ".")+" "+violation.GetRuleId())
		}
	}
	return fields
}
