package dns01

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/compute/metadata"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/go-acme/lego/v4/challenge"
	legodns01 "github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/providers/dns/azuredns"
	"github.com/go-acme/lego/v4/providers/dns/gcloud"
	"github.com/go-acme/lego/v4/providers/dns/route53"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	dnsapi "google.golang.org/api/dns/v1"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/option"

	"github.com/anycert/anycert/internal/trusted"
)

// The three clouds: without credentials in the settings, each finds the identity
// of the machine or pod it runs on.

func route53Spec() spec {
	const p = "AWS_"
	return spec{
		settings: append(paced(p),
			plain(p+"ACCESS_KEY_ID"), secret(p+"SECRET_ACCESS_KEY"), secret(p+"SESSION_TOKEN"), plain(p+"REGION"),
			plain(p+"HOSTED_ZONE_ID"), plain(p+"ASSUME_ROLE_ARN"), plain(p+"EXTERNAL_ID"), plain(p+"PRIVATE_ZONE"),
			plain(p+"MAX_RETRIES"), plain(p+"WAIT_FOR_RECORD_SETS_CHANGED")),
		build: func(v *values) (backend, error) {
			t := v.times(p, 10, 2*time.Minute, 4*time.Second)
			return v.lego(route53.NewDNSProviderConfig(&route53.Config{
				AccessKeyID:              v.text(p + "ACCESS_KEY_ID"),
				SecretAccessKey:          v.text(p + "SECRET_ACCESS_KEY"),
				SessionToken:             v.text(p + "SESSION_TOKEN"),
				Region:                   v.text(p + "REGION"),
				HostedZoneID:             v.text(p + "HOSTED_ZONE_ID"),
				AssumeRoleArn:            v.text(p + "ASSUME_ROLE_ARN"),
				ExternalID:               v.text(p + "EXTERNAL_ID"),
				PrivateZone:              v.flag(p+"PRIVATE_ZONE", false),
				MaxRetries:               v.number(p+"MAX_RETRIES", 5),
				WaitForRecordSetsChanged: v.flag(p+"WAIT_FOR_RECORD_SETS_CHANGED", true),
				TTL:                      t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval,
			}))
		},
	}
}

func azureSpec() spec {
	const p = "AZURE_"
	return spec{
		settings: append(paced(p),
			plain(p+"CLIENT_ID"), secret(p+"CLIENT_SECRET"), plain(p+"TENANT_ID"), plain(p+"SUBSCRIPTION_ID"), plain(p+"RESOURCE_GROUP"),
			plain(p+"ZONE_NAME"), plain(p+"PRIVATE_ZONE"), plain(p+"ENVIRONMENT"), plain(p+"AUTH_METHOD"), plain(p+"AUTH_MSI_TIMEOUT"),
			secret(p+"OIDC_TOKEN"), plain(p+"OIDC_TOKEN_FILE_PATH"), plain(p+"SERVICEDISCOVERY_FILTER")),
		build: func(v *values) (backend, error) {
			environment, err := azureEnvironment(p+"ENVIRONMENT", v.text(p+"ENVIRONMENT"))
			if err != nil {
				return nil, err
			}
			t := v.times(p, 60, 2*time.Minute, 2*time.Second)
			config := &azuredns.Config{
				ZoneName:               v.text(p + "ZONE_NAME"),
				SubscriptionID:         v.text(p + "SUBSCRIPTION_ID"),
				ResourceGroup:          v.text(p + "RESOURCE_GROUP"),
				PrivateZone:            v.flag(p+"PRIVATE_ZONE", false),
				Environment:            environment,
				ClientID:               v.text(p + "CLIENT_ID"),
				ClientSecret:           v.text(p + "CLIENT_SECRET"),
				TenantID:               v.text(p + "TENANT_ID"),
				OIDCToken:              v.text(p + "OIDC_TOKEN"),
				OIDCTokenFilePath:      v.text(p + "OIDC_TOKEN_FILE_PATH"),
				AuthMethod:             v.textOr(p+"AUTH_METHOD", azureMethod(v, p)),
				AuthMSITimeout:         v.duration(p+"AUTH_MSI_TIMEOUT", 2*time.Second),
				ServiceDiscoveryFilter: v.text(p + "SERVICEDISCOVERY_FILTER"),
				TTL:                    t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: t.client,
			}
			return v.lego(v.slow(func() (challenge.Provider, error) { return azuredns.NewDNSProviderConfig(config) }))
		},
	}
}

// azureMethod makes lego take the credentials that it was given: left to itself
// it looks for those of the environment alone.
func azureMethod(v *values, p string) string {
	switch {
	case v.text(p+"CLIENT_SECRET") != "":
		return "env"
	case v.text(p+"OIDC_TOKEN") != "" || v.text(p+"OIDC_TOKEN_FILE_PATH") != "":
		return "oidc"
	}
	return ""
}

func azureEnvironment(name, word string) (cloud.Configuration, error) {
	switch word {
	case "", "public":
		return cloud.AzurePublic, nil
	case "china":
		return cloud.AzureChina, nil
	case "usgovernment":
		return cloud.AzureGovernment, nil
	}
	return cloud.Configuration{}, unknownWord(name, word, "public", "china", "usgovernment")
}

func gcloudSpec() spec {
	const p = "GCE_"
	return spec{
		settings: append(paced(p),
			plain(p+"PROJECT"), secret(p+"SERVICE_ACCOUNT"), plain(p+"SERVICE_ACCOUNT_FILE"), plain(p+"ZONE_ID"),
			plain(p+"ALLOW_PRIVATE_ZONE"), plain(p+"IMPERSONATE_SERVICE_ACCOUNT")),
		build: func(v *values) (backend, error) {
			account, err := googleAccount(v, p)
			if err != nil {
				return nil, err
			}
			client, err := googleClient(v, account, v.text(p+"IMPERSONATE_SERVICE_ACCOUNT"))
			if err != nil {
				return nil, err
			}
			project := googleProject(v, account, v.text(p+"PROJECT"))
			if project == "" {
				return nil, errors.New("the project is not known: give GCE_PROJECT")
			}
			t := v.times(p, legodns01.DefaultTTL, 3*time.Minute, 5*time.Second)
			client.Timeout = t.client.Timeout
			return v.lego(gcloud.NewDNSProviderConfig(&gcloud.Config{
				Project:          project,
				ZoneID:           v.text(p + "ZONE_ID"),
				AllowPrivateZone: v.flag(p+"ALLOW_PRIVATE_ZONE", false),
				TTL:              t.ttl, PropagationTimeout: t.timeout, PollingInterval: t.interval, HTTPClient: client,
			}))
		},
	}
}

// googleAccount is the JSON key of a service account, or nil for the identity of
// the machine.
func googleAccount(v *values, p string) ([]byte, error) {
	if text := v.text(p + "SERVICE_ACCOUNT"); text != "" {
		return []byte(text), nil
	}
	path := v.text(p + "SERVICE_ACCOUNT_FILE")
	if path == "" {
		return nil, nil
	}
	account, err := trusted.Read(path, trusted.MaxCredential)
	if err != nil {
		return nil, fmt.Errorf("reading the service account: %w", err)
	}
	return account, nil
}

// googleClient does what lego does, which offers it for the environment alone.
func googleClient(v *values, account []byte, impersonated string) (*http.Client, error) {
	ctx := googleContext(v)
	scope := dnsapi.NdevClouddnsReadwriteScope
	if impersonated != "" {
		scope = "https://www.googleapis.com/auth/cloud-platform"
	}
	source, err := googleSource(ctx, account, scope)
	if err != nil {
		return nil, err
	}
	if impersonated != "" {
		source, err = impersonate.CredentialsTokenSource(ctx, impersonate.CredentialsConfig{
			TargetPrincipal: impersonated,
			Scopes:          []string{dnsapi.NdevClouddnsReadwriteScope},
		}, option.WithTokenSource(source))
		if err != nil {
			return nil, fmt.Errorf("impersonating %s: %w", impersonated, err)
		}
	}
	return oauth2.NewClient(ctx, source), nil
}

// googleContext names the HTTP client to package oauth2, which takes it from there.
func googleContext(v *values) context.Context {
	return context.WithValue(v.background(), oauth2.HTTPClient, &http.Client{Transport: newGuard(v.denials)})
}

func googleSource(ctx context.Context, account []byte, scope string) (oauth2.TokenSource, error) {
	if account == nil {
		source, err := google.DefaultTokenSource(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("no identity was found: give GCE_SERVICE_ACCOUNT: %w", err)
		}
		return source, nil
	}
	config, err := google.JWTConfigFromJSON(account, scope)
	if err != nil { // what it says may quote the key
		return nil, errors.New("GCE_SERVICE_ACCOUNT is not the JSON key of a service account")
	}
	return config.TokenSource(ctx), nil
}

func googleProject(v *values, account []byte, given string) string {
	if given != "" {
		return given
	}
	var key struct {
		ProjectID string `json:"project_id"`
	}
	if account != nil && json.Unmarshal(account, &key) == nil {
		return key.ProjectID
	}
	project, _ := metadata.ProjectIDWithContext(v.ctx) // elsewhere than at Google there is none
	return project
}
