package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"sallyport.dev/sallyport/internal/controller/servingcertificate"
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
	// MetricsAddress is where scrapes and the kubelet are answered.
	MetricsAddress string
	// MetricsAuthentication is whether scrapes need a token that may get /metrics.
	MetricsAuthentication bool
	// LogLevel is info, debug or error.
	LogLevel string
	// LeaderElect is whether to work only with the lease.
	LeaderElect bool
	// LeaseDuration, RenewDeadline and RetryPeriod are the times of the lease.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// ProbePeriod is how often handshakes are tried with each gateway replica; 0 for never.
	ProbePeriod time.Duration
	// ProbeLocal lets handshakes be tried with loopback and link-local addresses.
	ProbeLocal bool
	// CountPeriod is how often gateway replicas are asked for their count of handshakes; 0 for never.
	CountPeriod time.Duration
	// CountWindow is how long nobody may have come without a certificate until it is told that all have one.
	CountWindow time.Duration
	// IssuedPerMinute bounds the certificates that replace good ones; 0 for no limit.
	IssuedPerMinute int
	// CADirectories are where CA pairs are mounted, by the name that authorities use.
	CADirectories map[string]string
	// PolicyOptIn says that the install opts objects in for MutualTLSPolicies.
	PolicyOptIn bool
	// AdmissionDigests is the file with what was installed of admission objects; empty to compare none.
	AdmissionDigests string
	// Webhook is how long the webhook's CA and certificate live.
	Webhook servingcertificate.Lifetimes
}

// addFlags declares the flags, with their defaults, on a set of its own.
func (o *Options) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.Settings, "config", "", "`file` with the platform's install settings (config.yaml of ConfigMap sallyport); required")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server; empty when running in a cluster")
	flags.StringVar(&o.Namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), "sallyport-system"), "`namespace` Sallyport is installed in; default POD_NAMESPACE")
	flags.StringVar(&o.MetricsAddress, "metrics-address", ":8080", "`address` to serve /metrics, /healthz and /readyz on")
	flags.BoolVar(&o.MetricsAuthentication, "metrics-authentication", false, "serve with TLS, and /metrics only to whom the API server lets get it, by his bearer token")
	flags.StringVar(&o.LogLevel, "log-level", "info", "`level` of the log: info, debug or error")
	flags.BoolVar(&o.LeaderElect, "leader-elect", true, "work only while holding the lease; off is for a single replica that is never rolled over")
	flags.DurationVar(&o.LeaseDuration, "leader-election-lease-duration", 15*time.Second, "`time` after which another replica takes a lease that was not renewed")
	flags.DurationVar(&o.RenewDeadline, "leader-election-renew-deadline", 10*time.Second, "`time` for which a leader tries to renew its lease before it stops")
	flags.DurationVar(&o.RetryPeriod, "leader-election-retry-period", 2*time.Second, "`time` between two tries at the lease")
	flags.DurationVar(&o.ProbePeriod, "probe-period", 15*time.Second, "`time` between two rounds of handshakes with each host of each gateway replica, one second at least; 0 tries none, and nothing is proven")
	flags.DurationVar(&o.CountPeriod, "count-period", 30*time.Second, "`time` between two looks at what each gateway replica of an object in mode optional counted of handshakes, one second at least; 0 looks never, and nothing is told of its callers")
	flags.DurationVar(&o.CountWindow, "count-window", 24*time.Hour, "`time` for which nobody may have come without a certificate until an object in mode optional is ReadyForMutual; two periods at least")
	flags.BoolVar(&o.ProbeLocal, "probe-local-addresses", false, "try handshakes with, and ask for statistics, loopback and link-local addresses and the API server's as well; for stacks on one machine")
	flags.IntVar(&o.IssuedPerMinute, "replacements-per-minute", 600, "`certificates` that are issued in a minute at most where the ones before are good still; 0 for no limit")
	flags.StringVar(&o.AdmissionDigests, "admission-digests", "", "`file` with digests of the admission objects as they were installed (admission.yaml of ConfigMap sallyport); empty to compare none")
	flags.BoolVar(&o.PolicyOptIn, "policy-opt-in", false, "the API server opts objects in for MutualTLSPolicies with optIn (the chart's policies.optIn); without, their status says that nobody does")
	flags.Func("ca-directory", "`name=directory` with tls.crt and tls.key of a CA, for authorities with source.type Directory; once for each", o.addCADirectory)
	o.Webhook = servingcertificate.DefaultLifetimes()
	flags.DurationVar(&o.Webhook.CA, "webhook-ca-lifetime", o.Webhook.CA, "`time` a CA of the webhook's certificate lives; it is replaced at half of it")
	flags.DurationVar(&o.Webhook.Leaf, "webhook-certificate-lifetime", o.Webhook.Leaf, "`time` the webhook's certificate lives; at least several times what the kubelet takes to refresh a volume (two minutes)")
	flags.DurationVar(&o.Webhook.Overlap, "webhook-ca-overlap", o.Webhook.Overlap, "`time` a new CA is in caBundle before a certificate of it is served; at least what an API server takes to see a change")
	flags.Func("webhook-certificate-renew-before", "share of its life, in `per cent`, that the webhook's certificate has left when it is renewed (default 33)", func(value string) error {
		share, err := strconv.ParseInt(value, 10, 32)
		o.Webhook.RenewBefore = int32(share)
		return err
	})
}

// caDirectoryName is the grammar of a directory's name.
var caDirectoryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (o *Options) addCADirectory(value string) error {
	name, directory, _ := strings.Cut(value, "=")
	if !caDirectoryName.MatchString(name) || !filepath.IsAbs(directory) {
		return errors.New("expected a name of lower-case letters, digits and hyphens, =, and an absolute path")
	}
	if _, twice := o.CADirectories[name]; twice {
		return fmt.Errorf("name %s is given twice", name)
	}
	if o.CADirectories == nil {
		o.CADirectories = map[string]string{}
	}
	o.CADirectories[name] = directory
	return nil
}

// parse reads the arguments. It returns flag.ErrHelp when only help was asked for.
func parse(args []string, output io.Writer) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
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

// Config is what the agent runs with: options that were found to be right.
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
	if o.LeaderElect && (o.RetryPeriod <= 0 || o.RenewDeadline <= o.RetryPeriod || o.LeaseDuration <= o.RenewDeadline) {
		errs = append(errs, fmt.Errorf("the lease's times must rise: retry period %s, renew deadline %s, lease duration %s", o.RetryPeriod, o.RenewDeadline, o.LeaseDuration))
	}
	if o.ProbePeriod != 0 && o.ProbePeriod < time.Second {
		errs = append(errs, fmt.Errorf("--probe-period is %s: it has to be one second at least, or 0 for no handshakes", o.ProbePeriod))
	}
	if o.CountPeriod != 0 && (o.CountPeriod < time.Second || o.CountWindow < 2*o.CountPeriod) {
		errs = append(errs, fmt.Errorf("--count-period is %s and --count-window is %s: the period has to be one second at least, or 0 to count nothing, and the window two periods", o.CountPeriod, o.CountWindow))
	}
	if o.IssuedPerMinute < 0 {
		errs = append(errs, fmt.Errorf("--replacements-per-minute is %d: it has to be 1 at least, or 0 for no limit", o.IssuedPerMinute))
	}
	errs = append(errs, o.Webhook.Check(), startup.CheckAddress("--metrics-address", o.MetricsAddress))
	var err error
	c.level, err = startup.Level(o.LogLevel)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	if c.settings, err = startup.Settings(o.Settings); err != nil {
		return Config{}, err
	}
	if c.cluster, err = startup.Cluster(o.Kubeconfig, "sallyport-agent"); err != nil {
		return Config{}, err
	}
	return c, nil
}
