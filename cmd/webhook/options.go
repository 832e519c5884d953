package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"k8s.io/client-go/rest"

	"sallyport.dev/sallyport/internal/install"
	"sallyport.dev/sallyport/internal/startup"
)

// Options are the flags as they were given.
type Options struct {
	// Settings is the file with the platform's install settings.
	Settings string
	// Kubeconfig says how to reach the API server; empty in a cluster.
	Kubeconfig string
	// Namespace is where Sallyport is installed.
	Namespace string
	// ListenAddress is where reviews are answered, MetricsAddress and HealthAddress
	// are where plain HTTP answers scrapes and the kubelet.
	ListenAddress, MetricsAddress, HealthAddress string
	// ServingCertificates is the directory with tls.crt and tls.key.
	ServingCertificates string
	// LogLevel is info, debug or error.
	LogLevel string
	// ShutdownDelay is how long reviews are still taken after the signal to stop.
	ShutdownDelay time.Duration
}

// addFlags declares the flags, with their defaults, on a set of its own.
func (o *Options) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Settings, "config", "", "`file` with the platform's install settings (config.yaml of ConfigMap sallyport); required")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server; empty when running in a cluster")
	flags.StringVar(&o.Namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), "sallyport-system"), "`namespace` Sallyport is installed in; default POD_NAMESPACE")
	flags.StringVar(&o.ListenAddress, "listen-address", ":9443", "`address` to answer admission reviews on, with TLS")
	flags.StringVar(&o.ServingCertificates, "serving-certificates", "", "`directory` with tls.crt and tls.key; may appear later; required")
	flags.StringVar(&o.MetricsAddress, "metrics-address", ":8080", "`address` to serve /metrics on")
	flags.StringVar(&o.HealthAddress, "health-address", ":8081", "`address` to serve /healthz and /readyz on")
	flags.StringVar(&o.LogLevel, "log-level", "info", "`level` of the log: info, debug or error")
	flags.DurationVar(&o.ShutdownDelay, "shutdown-delay", 3*time.Second, "`time` to go on answering after SIGTERM, while the API server learns that this replica goes away")
}

// parse reads the arguments. It returns flag.ErrHelp when only help was asked for.
func parse(args []string, output io.Writer) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	flags.SetOutput(output)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		return Options{}, err
	}
	if flags.NArg() > 0 {
		return Options{}, fmt.Errorf("reading arguments: %q is no flag; every setting is a flag", flags.Arg(0))
	}
	return o, nil
}

// Config is what the webhook runs with: options that were found to be right.
type Config struct {
	options  Options
	settings install.Settings
	cluster  *rest.Config
	level    slog.Level
}

// config validates the options and reads the files they name. It reports all that
// is wrong at once.
func (o Options) config() (Config, error) {
	c := Config{options: o}
	var errs []error
	if o.Settings == "" {
		errs = append(errs, errors.New("--config is required: the file with the install settings"))
	}
	if o.ServingCertificates == "" {
		errs = append(errs, errors.New("--serving-certificates is required: the directory with tls.crt and tls.key"))
	}
	if o.ShutdownDelay < 0 {
		errs = append(errs, fmt.Errorf("--shutdown-delay %s is negative", o.ShutdownDelay))
	}
	errs = append(errs,
		startup.CheckAddress("--listen-address", o.ListenAddress),
		startup.CheckAddress("--metrics-address", o.MetricsAddress),
		startup.CheckAddress("--health-address", o.HealthAddress))
	var err error
	c.level, err = startup.Level(o.LogLevel)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	if c.settings, err = startup.Settings(o.Settings); err != nil {
		return Config{}, err
	}
	if c.cluster, err = startup.Cluster(o.Kubeconfig, userAgent); err != nil {
		return Config{}, err
	}
	return c, nil
}

const userAgent = "sallyport-webhook"
