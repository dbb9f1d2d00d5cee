package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

type credentialProviderCommand struct {
	Account           string `placeholder:"ID" help:"The service account of Berth that all pods log in as."`
	AccountAnnotation string `placeholder:"KEY" help:"The annotation of a pod's Kubernetes service account that names the service account of Berth, in place of --account."`
}

// Help is the longer text of --help.
func (credentialProviderCommand) Help() string {
	return `Is a credential provider of kubelet: a node pulls with the token of the pod's Kubernetes service account, and
stores no secret. kubelet runs it with a request on its standard input, and reads the answer from its output.
It asks no one. docs/how-to/workloads.md has the configuration of kubelet.

  berth credential-provider --account pods`
}

// The API of kubelet's credential providers.
const (
	providerVersion = "credentialprovider.kubelet.k8s.io/v1"
	providerRequest = "CredentialProviderRequest"
	providerAnswer  = "CredentialProviderResponse"
	maxRequest      = 1 << 20 // bytes
)

// credentialRequest is what kubelet asks: Kubernetes KEP-4412 says what it has of a pod.
type credentialRequest struct {
	APIVersion  string            `json:"apiVersion"`
	Kind        string            `json:"kind"`
	Image       string            `json:"image"`
	Token       string            `json:"serviceAccountToken"`
	Annotations map[string]string `json:"serviceAccountAnnotations"`
}

// credentialResponse is the answer. kubelet takes it for all images of the registry.
type credentialResponse struct {
	APIVersion string                     `json:"apiVersion"`
	Kind       string                     `json:"kind"`
	CacheKey   string                     `json:"cacheKeyType"`
	Cached     string                     `json:"cacheDuration"`
	Auth       map[string]credentialLogin `json:"auth"`
}

type credentialLogin struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

func (c credentialProviderCommand) Run(e *env) error {
	text, err := io.ReadAll(io.LimitReader(e.stdin, maxRequest+1))
	if err != nil {
		return err
	}
	var req credentialRequest
	if len(text) > maxRequest {
		return fmt.Errorf("the standard input has more than %d bytes, and is not a request of kubelet", maxRequest)
	}
	if err := json.Unmarshal(text, &req); err != nil {
		return fmt.Errorf("the standard input is not a request of kubelet: %w", err)
	}
	answer, err := c.answer(req)
	if err != nil {
		return err
	}
	return json.NewEncoder(e.stdout).Encode(answer)
}

// answer is not kept by kubelet: the next pod may have another token.
func (c credentialProviderCommand) answer(req credentialRequest) (credentialResponse, error) {
	host, _, named := strings.Cut(req.Image, "/")
	account := c.Account
	if c.AccountAnnotation != "" {
		account = req.Annotations[c.AccountAnnotation]
	}
	switch {
	case req.APIVersion != providerVersion || req.Kind != providerRequest:
		return credentialResponse{}, fmt.Errorf("the request is %s of %s, and not %s of %s", req.Kind, req.APIVersion, providerRequest, providerVersion)
	case !named || host == "":
		return credentialResponse{}, fmt.Errorf("the image %q names no registry", req.Image)
	case req.Token == "":
		return credentialResponse{}, errors.New("the request has no serviceAccountToken; set tokenAttributes of this provider in the configuration of kubelet")
	case account == "" && c.AccountAnnotation != "":
		return credentialResponse{}, fmt.Errorf("the service account of the pod has no annotation %s", c.AccountAnnotation)
	case account == "":
		return credentialResponse{}, errors.New("no service account of Berth is named: set --account or --account-annotation")
	}
	return credentialResponse{
		APIVersion: providerVersion, Kind: providerAnswer, CacheKey: "Registry", Cached: "0s",
		Auth: map[string]credentialLogin{host: {Username: account, Password: req.Token}},
	}, nil
}
