package rotation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sallyport.dev/sallyport/internal/localstack"
	"sallyport.dev/sallyport/internal/testenv"
)

// slow are lives in which nothing is rotated by itself while a test runs.
var slow = lives{ca: 10 * time.Minute, leaf: 20 * time.Second}

// frozenFor is how long istiod tells the gateways nothing, while a generation is about to be used:
// less than a certificate of slow has left when it is renewed.
const frozenFor = 3 * time.Second

// slower are lives in which no certificate is renewed either while istiod is frozen for frozenUntilSeen:
// whoever is refused, is so because of the rotation.
var slower = lives{ca: 10 * time.Minute, leaf: time.Minute}

const frozenUntilSeen = 20 * time.Second

// rotateWhileNothingArrives asks for a rotation while istiod is frozen for so long, and waits until
// the next generation issues and was in use for a while, or somebody was refused.
func (r *run) rotateWhileNothingArrives(frozenFor time.Duration) {
	r.t.Helper()
	istiod, ok := stack.Process("istiod")
	if !ok {
		r.t.Fatal("there is no istiod")
	}
	if err := istiod.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	thaw := time.AfterFunc(frozenFor, func() { _ = istiod.Signal(syscall.SIGCONT) })
	defer thaw.Stop()
	defer func() { _ = istiod.Signal(syscall.SIGCONT) }()
	r.askForRotation()
	begun := time.Now()
	testenv.Eventually(r.t, patience, "the next generation in use for a while", func(context.Context) error {
		if r.tally.count() > 0 {
			return nil
		}
		if _, rotated, _ := r.tally.sum(); rotated == 0 {
			return errors.New("it does not issue")
		}
		if time.Since(begun) < 2*frozenFor {
			return errors.New("it was not in use for long")
		}
		return nil
	})
}

// askForRotation asks for one, and says that callers know the active generation.
func (r *run) askForRotation() {
	r.t.Helper()
	testenv.Eventually(r.t, patience, "a rotation asked for", func(ctx context.Context) error {
		ca, err := stored(ctx, "mtls.sallyport.dev/v1alpha1", "CertificateAuthority", r.ns, "default")
		if err != nil {
			return err
		}
		generations, _, _ := unstructured.NestedSlice(ca.Object, "status", "generations")
		if len(generations) != 1 {
			return fmt.Errorf("generations %v", generations)
		}
		key := generations[0].(map[string]any)["subjectKeyID"] //nolint:forcetypeassert // generations are objects
		patch := fmt.Sprintf(`{"spec": {"rotation": {"rotateAfter": %q, "callersUpdated": %q}}}`, time.Now().Add(time.Second).UTC().Format(time.RFC3339), key)
		return stack.Client().Patch(ctx, ca, client.RawPatch(types.MergePatchType, []byte(patch)))
	})
}

func TestARotationWaitsForReplicasThatLearnNothing(t *testing.T) {
	r := begin(t, "frozen", slow)
	defer r.report()
	r.rotateWhileNothingArrives(frozenFor)
	r.wantNoneRefused()
}

// The same run finds it out where an agent does not wait, or uses before it has others trust.
func TestTheRunSeesWhatItClaimsToSee(t *testing.T) {
	for name, change := range map[string]struct{ ns, from, to string }{
		"the gate is taken away":    {"ungated", "if !g.open {\n\t\tp.again(g.wait)\n\t\treturn\n\t}\n\tif g.reason", "if g.reason"},
		"trust and use are swapped": {"swapped", "p.enter(active, Trust, prepared, ReasonStored)", "p.enter(active, Activate, prepared, ReasonStored)"},
	} {
		t.Run(name, func(t *testing.T) {
			withBrokenAgent(t, change.from, change.to)
			r := begin(t, change.ns, slower)
			defer r.report()
			r.rotateWhileNothingArrives(frozenUntilSeen)
			r.end()
			if r.tally.count() == 0 {
				t.Error("nobody was refused: this run would not see it")
			}
		})
	}
}

// withBrokenAgent runs an agent whose rotation is broken until the test ends.
func withBrokenAgent(t *testing.T, from, to string) {
	t.Helper()
	root, err := localstack.Root()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(root, "pkg", "rotate", "rotation.go")
	whole, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Replace(whole, []byte(from), []byte(to), 1)
	if bytes.Equal(whole, broken) {
		t.Fatalf("%s has no %q any more", source, from)
	}
	replacement, overlay := filepath.Join(t.TempDir(), "rotation.go"), filepath.Join(t.TempDir(), "overlay.json")
	spec, err := json.Marshal(map[string]any{"Replace": map[string]string{source: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(replacement, broken, 0o600), os.WriteFile(overlay, spec, 0o600)); err != nil {
		t.Fatal(err)
	}
	agent, binary := installed.Agents[0].Process, filepath.Join(stack.Directory(), "bin", "agent")
	good := binary + ".good"
	command := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", binary+".broken", "./cmd/agent")
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("building a broken agent: %v\n%s", err, out)
	}
	restart := func(ctx context.Context, from, to string) error {
		return errors.Join(agent.Stop(ctx), os.Rename(binary, from), os.Rename(to, binary), agent.Start())
	}
	if err := restart(t.Context(), good, binary+".broken"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := restart(context.WithoutCancel(t.Context()), binary+".broken", good); err != nil {
			t.Error(err)
		}
	})
}
