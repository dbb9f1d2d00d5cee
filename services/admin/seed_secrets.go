package admin

import (
	"fmt"
	"maps"
)

// secretsOfParts are the secrets of the parts of an upstream or an identity provider, and of those
// in its lists.
var secretsOfParts = map[string][]string{"headers": {"value"}, "alternatives": {"password", "client_key"}, "ldap": {"bind_password"}, "oidc": {"client_secret"}}

// withSecretsOfParts reads the secrets of a resource's parts, and of their own parts, from
// the files that they name: value_file for the secret value.
func (f seedFields) withSecretsOfParts(dir string) (seedFields, error) {
	f = maps.Clone(f)
	for list, secrets := range secretsOfParts {
		if part, ok := f[list].(map[string]any); ok {
			filled, err := seedFields(part).withSecrets(dir, secrets)
			if err != nil {
				return nil, within(list, err)
			}
			f[list] = map[string]any(filled)
		}
		parts, ok := f[list].([]any)
		if !ok {
			continue
		}
		read := make([]any, len(parts))
		for i, p := range parts {
			part, ok := p.(map[string]any)
			if !ok {
				return f, nil // decoding says what is wrong
			}
			filled, err := seedFields(part).withSecrets(dir, secrets)
			if err != nil {
				return nil, within(fmt.Sprintf("%s[%d]", list, i), err)
			}
			read[i] = map[string]any(filled)
		}
		f[list] = read
	}
	return f, nil
}

// withSecrets reads the secrets of a part.
func (f seedFields) withSecrets(dir string, secrets []string) (seedFields, error) {
	f, err := f.withSecretsOfParts(dir)
	if err != nil {
		return nil, err
	}
	for _, secret := range secrets {
		if _, inline := f[secret]; inline {
			return nil, invalid(secret, "a secret does not stand in the file itself: put it into a file, and name that in %s_file", secret)
		}
		file, named := f[secret+"_file"].(string)
		if !named {
			continue
		}
		text, err := readSecret(dir, file)
		if err != nil {
			return nil, within(secret+"_file", err)
		}
		delete(f, secret+"_file")
		f[secret] = text
	}
	return f, nil
}
