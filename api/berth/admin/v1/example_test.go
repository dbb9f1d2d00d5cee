package adminv1_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	adminv1 "github.com/berth-registry/berth/api/berth/admin/v1"
)

// A client lists the tenants of a server, page by page.
func Example() {
	addr, token := serve(), "a token of an operator"

	// A server with admin_tls_certs needs credentials.NewTLS.
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := adminv1.NewAdminServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)

	request := &adminv1.ListTenantsRequest{PageSize: 1}
	for {
		page, err := client.ListTenants(ctx, request)
		if err != nil {
			log.Fatal(err)
		}
		for _, tenant := range page.GetTenants() {
			fmt.Println(tenant.GetName(), tenant.GetState())
		}
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	// Output:
	// tenants/acme ACTIVE
	// tenants/wile SUSPENDED
}

// tenants is a server of two tenants. That of Berth listens at admin_grpc_addr.
type tenants struct {
	adminv1.UnimplementedAdminServiceServer
}

func (tenants) ListTenants(_ context.Context, r *adminv1.ListTenantsRequest) (*adminv1.ListTenantsResponse, error) {
	if r.GetPageToken() == "" {
		return &adminv1.ListTenantsResponse{
			Tenants:       []*adminv1.Tenant{{Name: "tenants/acme", State: adminv1.Tenant_ACTIVE}},
			NextPageToken: "second",
		}, nil
	}
	return &adminv1.ListTenantsResponse{
		Tenants: []*adminv1.Tenant{{Name: "tenants/wile", State: adminv1.Tenant_SUSPENDED}},
	}, nil
}

// serve starts the server and returns its address.
func serve() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	adminv1.RegisterAdminServiceServer(server, tenants{})
	go server.Serve(listener) // it ends with the process
	return listener.Addr().String()
}
