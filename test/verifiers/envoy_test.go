package verifiers

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"sallyport.dev/sallyport/internal/localstack"
)

// envoy answers each question on a socket of its own: a caller's by a listener that
// verifies callers, a server's by one that sends on to that server and verifies it.
type envoy struct{ directory string }

type object = map[string]any

// startEnvoy runs one Envoy for all questions, configured as istiod configures a
// gateway: trusted_ca and crl, and no other switch of the validation.
func startEnvoy(t *testing.T, questions []question, files []paths) envoy {
	t.Helper()
	binaries, err := localstack.Build(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: the path of a socket has 107 bytes at most.
	directory, err := os.MkdirTemp("", "verify-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	e := envoy{directory: directory}
	bootstrap, err := json.Marshal(e.bootstrap(questions, files))
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range questions {
		if q.host != "" {
			serveTLS(t, e.socket("server", i), q)
		}
	}
	config := filepath.Join(directory, "bootstrap.json")
	if err := os.WriteFile(config, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(directory, "log"))
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(binaries.Envoy, "--config-path", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
	process.Stdout, process.Stderr = said, said
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait(); said.Close() })
	last := e.socket("listener", len(questions)-1)
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		connection, err := net.Dial("unix", last)
		if err != nil {
			return false, nil //nolint:nilerr // it does not listen yet
		}
		return true, connection.Close()
	})
	if err != nil {
		words, _ := os.ReadFile(said.Name())
		t.Fatalf("Envoy does not listen: %v\n%s", err, words)
	}
	return e
}

func (e envoy) socket(kind string, i int) string {
	return filepath.Join(e.directory, fmt.Sprintf("%s%d", kind, i))
}

func (e envoy) bootstrap(questions []question, files []paths) object {
	var listeners, clusters []object
	for i, q := range questions {
		route, transport := object{"direct_response": object{"status": 200}}, object(nil)
		if q.host == "" {
			transport = callers(q, files[i])
		} else {
			cluster := fmt.Sprintf("server%d", i)
			route = object{"route": object{"cluster": cluster}}
			clusters = append(clusters, e.cluster(cluster, i, q, files[i]))
		}
		listeners = append(listeners, e.listener(i, route, transport))
	}
	return object{"static_resources": object{"listeners": listeners, "clusters": clusters}}
}

func (e envoy) listener(i int, route, transport object) object {
	route["match"] = object{"prefix": "/"}
	chain := object{"filters": []object{{
		"name": "http",
		"typed_config": object{
			"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"stat_prefix": "in",
			"local_reply_config": object{"body_format": object{"text_format_source": object{
				"inline_string": "%RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%",
			}}},
			"http_filters": []object{{"name": "router", "typed_config": object{
				"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
			}}},
			"route_config": object{"virtual_hosts": []object{{"name": "all", "domains": []string{"*"}, "routes": []object{route}}}},
		},
	}}}
	if transport != nil {
		chain["transport_socket"] = transport
	}
	return object{"name": fmt.Sprintf("listener%d", i), "address": object{"pipe": object{"path": e.socket("listener", i)}}, "filter_chains": []object{chain}}
}

func validation(q question, files paths) object {
	v := object{"trusted_ca": object{"filename": files.cas}}
	if len(q.crls) > 0 {
		v["crl"] = object{"filename": files.crls}
	}
	if q.host != "" {
		v["match_typed_subject_alt_names"] = []object{{"san_type": "DNS", "matcher": object{"exact": q.host}}}
	}
	return v
}

// callers presents the callers' own pair as the server's: nobody asks about that.
func callers(q question, files paths) object {
	return object{"name": "tls", "typed_config": object{
		"@type":                      "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
		"require_client_certificate": true,
		"common_tls_context": object{
			"tls_certificates":   []object{{"certificate_chain": object{"filename": files.chain}, "private_key": object{"filename": files.key}}},
			"validation_context": validation(q, files),
		},
	}}
}

func (e envoy) cluster(name string, i int, q question, files paths) object {
	return object{
		"name": name, "type": "STATIC",
		"load_assignment": object{"cluster_name": name, "endpoints": []object{{"lb_endpoints": []object{{
			"endpoint": object{"address": object{"pipe": object{"path": e.socket("server", i)}}},
		}}}}},
		"transport_socket": object{"name": "tls", "typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
			"common_tls_context": object{
				"validation_context": validation(q, files),
				// As a caller Envoy offers TLS 1.2 and no P-384 unless told, and then
				// takes no certificate on that curve.
				"tls_params": object{"ecdh_curves": []string{"X25519", "P-256", "P-384"}},
			},
		}},
	}
}

func serveTLS(t *testing.T, socket string, q question) {
	t.Helper()
	pair, err := tls.X509KeyPair(q.chain, q.key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("unix", socket, &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // that Envoy refuses it is the answer
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
}

// ask says whether a request gets through: 200 is yes. An alert to the caller, or a 503
// that names the certificate, is no; all else is an error.
func (e envoy) ask(i int, q question) (answer, error) {
	connection, err := net.DialTimeout("unix", e.socket("listener", i), 10*time.Second)
	if err != nil {
		return answer{}, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return answer{}, err
	}
	if q.host == "" {
		pair, err := tls.X509KeyPair(q.chain, q.key)
		if err != nil {
			return answer{}, err
		}
		// The pair that Envoy presents is the caller's own; only its side is asked.
		connection = tls.Client(connection, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})
	}
	response, err := get(connection)
	var alert tls.AlertError
	var failed *net.OpError
	switch {
	case errors.As(err, &alert), errors.As(err, &failed) && strings.HasPrefix(failed.Err.Error(), "tls: "):
		return answer{words: err.Error()}, nil
	case err != nil:
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch words := fmt.Sprintf("%s %s", response.Status, body); {
	case err != nil:
		return answer{}, err
	case response.StatusCode == http.StatusOK:
		return answer{accepts: true, words: words}, nil
	case response.StatusCode == http.StatusServiceUnavailable && strings.Contains(words, "CERTIFICATE_VERIFY_FAILED"):
		return answer{words: words}, nil
	default:
		return answer{}, errors.New(words)
	}
}

func get(over net.Conn) (*http.Response, error) {
	request, err := http.NewRequest(http.MethodGet, "http://verify/", nil)
	if err != nil {
		return nil, err
	}
	// An alert waits to be read also where Envoy has closed before the request was out.
	unsent := request.Write(over)
	response, err := http.ReadResponse(bufio.NewReader(over), request)
	if err != nil {
		return nil, errors.Join(err, unsent)
	}
	return response, nil
}
