//go:build linux

package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// file is one of a volume.
type file struct {
	mode fs.FileMode
	data []byte
}

// volume is what the kubelet would mount, as a folder.
func (k *kubelet) volume(pod *corev1.Pod, v corev1.Volume) (dir string, err error) {
	files := map[string]file{}
	switch {
	case v.ConfigMap != nil:
		err = k.configMap(pod, files, v.ConfigMap.Name, v.ConfigMap.Items, *v.ConfigMap.DefaultMode)
	case v.Secret != nil:
		err = k.secret(pod, files, v.Secret)
	case v.Projected != nil:
		for _, source := range v.Projected.Sources {
			err = errors.Join(err, k.projected(pod, files, source, *v.Projected.DefaultMode))
		}
	default:
		err = errors.New("this kubelet does not know such a volume")
	}
	if err != nil {
		return "", fmt.Errorf("the volume %s: %w", v.Name, err)
	}
	dir = filepath.Join(k.dir, v.Name)
	return dir, writeVolume(dir, files, int(*pod.Spec.SecurityContext.FSGroup))
}

func (k *kubelet) configMap(pod *corev1.Pod, files map[string]file, name string, items []corev1.KeyToPath, mode int32) error {
	found, err := k.api.CoreV1().ConfigMaps(pod.Namespace).Get(k.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for key, text := range found.Data {
		data[key] = []byte(text)
	}
	return take(files, data, items, mode)
}

func (k *kubelet) secret(pod *corev1.Pod, files map[string]file, source *corev1.SecretVolumeSource) error {
	found, err := k.api.CoreV1().Secrets(pod.Namespace).Get(k.ctx, source.SecretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return take(files, found.Data, source.Items, *source.DefaultMode)
}

// take makes files of the keys that are named, or of all.
func take(files map[string]file, data map[string][]byte, items []corev1.KeyToPath, mode int32) error {
	if len(items) == 0 {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		text, ok := data[item.Key]
		if !ok {
			return fmt.Errorf("there is no key %s", item.Key)
		}
		files[item.Path] = file{fs.FileMode(mode), text}
	}
	return nil
}

func (k *kubelet) projected(pod *corev1.Pod, files map[string]file, source corev1.VolumeProjection, mode int32) error {
	switch {
	case source.ServiceAccountToken != nil:
		return k.token(pod, files, source.ServiceAccountToken)
	case source.ConfigMap != nil:
		return k.configMap(pod, files, source.ConfigMap.Name, source.ConfigMap.Items, mode)
	case source.DownwardAPI != nil:
		for _, item := range source.DownwardAPI.Items {
			if item.FieldRef == nil || item.FieldRef.FieldPath != "metadata.namespace" {
				return fmt.Errorf("this kubelet does not know the field of %s", item.Path)
			}
			files[item.Path] = file{fs.FileMode(mode), []byte(pod.Namespace)}
		}
		return nil
	}
	return errors.New("this kubelet does not know such a source")
}

// token asks for one that is bound to the pod, as a kubelet does. In a pod with an
// fsGroup its mode is 0600, whatever the volume says.
func (k *kubelet) token(pod *corev1.Pod, files map[string]file, source *corev1.ServiceAccountTokenProjection) error {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	made, err := k.api.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(k.ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	files[source.Path] = file{0o600, []byte(made.Status.Token)}
	return nil
}

// writeVolume lays files out as a kubelet does: below a folder that is swapped as a
// whole by the symlink ..data, owned by root, and given to the pod's fsGroup.
func writeVolume(dir string, files map[string]file, group int) error {
	const version = "..2026_01_02_03_04_05.1234567890"
	if err := os.MkdirAll(filepath.Join(dir, version), 0o755); err != nil {
		return err
	}
	for name, f := range files {
		path := filepath.Join(dir, version, name)
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			return err
		}
		if err := own(path, group, f.mode|0o440); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Symlink(version, filepath.Join(dir, "..data")),
		own(filepath.Join(dir, version), group, fs.ModeSetgid|0o755),
		own(dir, group, fs.ModeSetgid|fs.ModeSticky|0o777), // a tmpfs
	)
}

// own gives a path to the group. The order matters: a change of owner clears bits.
func own(path string, group int, mode fs.FileMode) error {
	if err := os.Chown(path, 0, group); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
