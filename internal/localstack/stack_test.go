package localstack_test

import (
	"context"
	"os"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/localstack"
)

func TestStack(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	started := time.Now()
	stack, err := localstack.Start(ctx, localstack.Options{Replicas: 2, Progress: os.Stderr, KeepLogs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("ready after", time.Since(started), stack.Directory())
	if err := stack.Httpbin(ctx, "default", "httpbin", 80); err != nil {
		t.Fatal(err)
	}
	started = time.Now()
	if err := stack.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log("stopped", time.Since(started))
}
