// A client of Kith over gRPC. KITH_ADDRESS is host:port, KITH_TOKEN an access token
// or an API key.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	activityv1 "example.com/app/gen/kith/activity/v1"
	authv1 "example.com/app/gen/kith/auth/v1"
	contactv1 "example.com/app/gen/kith/contact/v1"
	errorv1 "example.com/app/gen/kith/error/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	conn, err := grpc.NewClient(os.Getenv("KITH_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	signedIn := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("KITH_TOKEN"))

	auth := authv1.NewAuthServiceClient(conn)
	me, err := auth.UserMe(signedIn, &authv1.UserMeRequest{})
	if err != nil {
		return err
	}
	fmt.Println("signed in as", me.GetUser().GetUsername(), me.GetUser().GetRole())

	contacts := contactv1.NewContactServiceClient(conn)
	created, err := contacts.CreateContact(signedIn, &contactv1.CreateContactRequest{GivenName: "Ada", FamilyName: "Lovelace"})
	if err != nil {
		return err
	}
	fmt.Println("created", created.GetContact().GetGivenName(), created.GetContact().GetFamilyName())

	watch, err := activityv1.NewActivityServiceClient(conn).WatchUserActivity(
		signedIn, &activityv1.WatchUserActivityRequest{UserId: me.GetUser().GetId()})
	if err != nil {
		return err
	}
	first, err := watch.Recv()
	if err != nil {
		return err
	}
	fmt.Println("watching", first.GetCursor() != "")

	_, err = auth.UserMe(ctx, &authv1.UserMeRequest{})
	for _, detail := range status.Convert(err).Details() {
		if why, ok := detail.(*errorv1.ErrorDetail); ok {
			fmt.Println("refused", status.Code(err), why.GetReason())
		}
	}
	return nil
}
