package install

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"redflag/api"
	"redflag/durable"
)

// moduleFile is one file of a module's payload.
type moduleFile struct {
	name string
	path string
	size int64
}

// moduleFiles lists the payload as the module sees it: one file, or every file
// at the root of an archive, by name.
func (m *moduleInstaller) moduleFiles(job *Job) ([]moduleFile, error) {
	dir := m.store.Path(job.New.Name, dirVersions, job.New.Version)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []moduleFile
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil:
			return nil, err
		case e.Name() == fileRecord:
		case !info.Mode().IsRegular() || strings.ContainsAny(e.Name(), " \n"):
			return nil, fmt.Errorf("a module's payload holds plain files without spaces in their names, and not %q", e.Name())
		default:
			files = append(files, moduleFile{e.Name(), filepath.Join(dir, e.Name()), info.Size()})
		}
	}
	return files, nil
}

// layOut makes the module's tree anew.
func (m *moduleInstaller) layOut(job *Job) error {
	tree := m.tree(job)
	if err := os.RemoveAll(tree); err != nil {
		return err
	}
	for _, dir := range []string{"header", "tmp"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o700); err != nil {
			return err
		}
	}
	name := artifactName(job.New.Name, job.New.Version)
	current := ""
	if job.Old != nil {
		current = artifactName(job.Old.Name, job.Old.Version) + "\n"
	}
	params := job.how().Params
	if params == nil {
		params = map[string]string{}
	}
	group := params["artifact_group"]
	info := map[string]any{
		"payloads":          []any{map[string]string{"type": job.how().Module}},
		"artifact_provides": map[string]string{"artifact_name": name, "artifact_group": group},
		"artifact_depends":  map[string][]string{"device_type": {m.host.DeviceType}},
	}
	for path, content := range map[string]any{
		"version":                "3\n",
		"current_artifact_name":  current,
		"current_artifact_group": "",
		"current_device_type":    m.host.DeviceType + "\n",
		"header/artifact_name":   name,
		"header/artifact_group":  group,
		"header/payload_type":    job.how().Module,
		"header/header-info":     info,
		"header/type-info":       map[string]string{"type": job.how().Module},
		"header/meta-data":       params,
	} {
		text, ok := content.(string)
		if !ok {
			b, err := json.Marshal(content)
			if err != nil {
				return err
			}
			text = string(b)
		}
		err := durable.WriteSynced(filepath.Join(tree, path), 0o600, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
		if err != nil {
			return err
		}
	}
	return syncTree(tree)
}

func artifactName(name, version string) string { return name + "-" + version }

// keepFiles puts the payload into the files tree: the module has not read the
// streams.
func (m *moduleInstaller) keepFiles(job *Job, files []moduleFile) error {
	dir := filepath.Join(m.tree(job), "files")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		err := durable.WriteSynced(filepath.Join(dir, f.name), 0o600, func(w io.Writer) error { return copyFile(w, f.path) })
		if err != nil {
			return err
		}
	}
	return syncTree(m.tree(job))
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// syncTree makes the names in dir and below durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return durable.SyncDir(path)
	})
}

// DeviceType is what update modules are told when the machine says nothing else.
func DeviceType(labels map[string]string, fallback string) string {
	if t := labels["device_type"]; t != "" && api.ValidID(t) {
		return t
	}
	return fallback
}
