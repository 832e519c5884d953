// Command dashboard draws the chart's Grafana dashboard without Grafana: it asks a
// Prometheus what the panels ask, and writes one SVG. It knows of Grafana what our
// dashboard uses and no more; a panel it does not know is an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	w := window{end: time.Now()}
	flags := flag.NewFlagSet("dashboard", flag.ContinueOnError)
	flags.SetOutput(stderr)
	address := flags.String("prometheus", "http://127.0.0.1:9090", "`URL` of the Prometheus to ask")
	path := flags.String("dashboard", "charts/sallyport/files/dashboard.json", "`file` with the dashboard")
	flags.DurationVar(&w.span, "range", 15*time.Minute, "`time` that is shown")
	flags.Func("end", "`moment` at which that ends, in RFC 3339 (default now)", func(value string) (err error) {
		w.end, err = time.Parse(time.RFC3339, value)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return 2
	}
	d, err := read(*path)
	if err == nil {
		err = draw(ctx, stdout, d, *path, prometheus{address: *address, client: http.DefaultClient}, w)
	}
	if err != nil {
		fmt.Fprintf(stderr, "dashboard: %v\n", err)
		return 1
	}
	return 0
}
