package install

import "redflag/api"

// installer returns the way to install the job's payload.
func (e *Engine) installer(job *Job) (installer, error) {
	file := fileInstaller{e.Store}
	switch kind := job.how().Kind(); kind {
	case api.InstallFile:
		return &file, nil
	case api.InstallArchive:
		return &archiveInstaller{file}, nil
	case api.InstallDeb:
		return &debInstaller{file, &e.Host}, nil
	case api.InstallExec:
		return &execInstaller{archiveInstaller{file}}, nil
	case api.InstallSelf:
		return &selfInstaller{file, &e.Host}, nil
	case api.InstallModule:
		return &moduleInstaller{file, &e.Host}, nil
	default:
		return nil, api.Failf(api.ErrorUnsupported, "this agent does not know the install type %q; update the agent first", kind)
	}
}
