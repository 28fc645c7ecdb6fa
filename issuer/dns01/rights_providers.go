package dns01

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/anycert/anycert"
)

// rfc2136 is for BIND (https://bind9.readthedocs.io/en/stable/reference.html#dynamic-update-policies)
// and Knot (https://www.knot-dns.cz/docs/latest/html/reference.html#acl-section), which
// can both limit a key to names and to a type of record.
func (g grant) rfc2136() string {
	key := strings.TrimSuffix(g.plain("DNSUPDATE_TSIG_KEY", "KEY"), ".") + "."
	if anycert.ShellWord(key) != key {
		key = strconv.Quote(key) // both read it so
	}
	var out strings.Builder
	out.WriteString("# BIND, in each zone of these names:\nupdate-policy {\n")
	for _, name := range g.names {
		fmt.Fprintf(&out, "  grant %s name %s. TXT;\n", key, name)
	}
	out.WriteString("};\n# Knot, and in each zone of these names acl: [anycert]\nacl:\n  - id: anycert\n    key: " + key +
		"\n    action: update\n    update-type: [TXT]\n    update-owner: name\n    update-owner-match: equal\n    update-owner-name: [" +
		strings.Join(g.names, "., ") + ".]\n")
	return out.String()
}

// statement is one of an IAM policy of AWS.
type statement struct {
	Effect    string
	Action    []string
	Resource  string
	Condition map[string]map[string][]string `json:",omitempty"`
}

// route53 is an IAM policy
// (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/specifying-rrset-conditions.html).
func (g grant) route53() string {
	zone := g.plain("AWS_HOSTED_ZONE_ID", "HOSTED_ZONE_ID")
	policy := struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{
		{Effect: "Allow", Action: []string{"route53:ChangeResourceRecordSets"}, Resource: "arn:aws:route53:::hostedzone/" + zone,
			Condition: map[string]map[string][]string{"ForAllValues:StringEquals": {
				"route53:ChangeResourceRecordSetsNormalizedRecordNames": g.names,
				"route53:ChangeResourceRecordSetsRecordTypes":           {"TXT"},
			}}},
		{Effect: "Allow", Action: []string{"route53:ListResourceRecordSets"}, Resource: "arn:aws:route53:::hostedzone/" + zone},
		{Effect: "Allow", Action: []string{"route53:GetChange"}, Resource: "arn:aws:route53:::change/*"},
	}}
	if zone == "HOSTED_ZONE_ID" {
		policy.Statement = append(policy.Statement, statement{Effect: "Allow", Action: []string{"route53:ListHostedZonesByName"}, Resource: "*"})
	}
	text, _ := json.MarshalIndent(policy, "", "  ") // texts alone: there is nothing to fail
	return "# An IAM policy of the user or role that anycert has:\n" + string(text) + "\n"
}

// gcloud is a role of its own, given for the zone
// (https://cloud.google.com/dns/docs/zones/iam-per-resource-zones).
func (g grant) gcloud() string {
	project, zone := anycert.ShellWord(g.plain("GCE_PROJECT", "PROJECT")), anycert.ShellWord(g.plain("GCE_ZONE_ID", "MANAGED_ZONE"))
	text := "# A role, given to anycert's service account for the zone. It covers all records of the zone.\n" +
		"gcloud iam roles create anycertChallenges --project " + project + " --permissions " +
		"dns.changes.create,dns.changes.get,dns.managedZones.get,dns.resourceRecordSets.create,dns.resourceRecordSets.delete,dns.resourceRecordSets.list,dns.resourceRecordSets.update\n" +
		"gcloud dns managed-zones add-iam-policy-binding " + zone + " --project " + project +
		" --member serviceAccount:ACCOUNT --role projects/" + project + "/roles/anycertChallenges\n"
	if zone == "MANAGED_ZONE" {
		text += "# And dns.managedZones.list for the project, to find the zone: not needed with the setting GCE_ZONE_ID.\n"
	}
	return text
}

// azure is a role for each record set
// (https://learn.microsoft.com/en-us/azure/dns/dns-protect-zones-recordsets).
func (g grant) azure() string {
	zone := g.plain("AZURE_ZONE_NAME", g.zone())
	path := fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Network/dnszones/%s",
		g.plain("AZURE_SUBSCRIPTION_ID", "SUBSCRIPTION"), g.plain("AZURE_RESOURCE_GROUP", "GROUP"), zone)
	out := "# To read the zone, and to write the record sets:\naz role assignment create --assignee PRINCIPAL --role Reader --scope " + anycert.ShellWord(path) + "\n"
	for _, name := range g.names {
		record, known := strings.CutSuffix(name, "."+zone)
		if !known { // which zone it lies in, nobody has said
			out += "# RECORD is " + name + " without its zone:\n"
			record = "RECORD"
		}
		out += `az role assignment create --assignee PRINCIPAL --role "DNS Zone Contributor" --scope ` + anycert.ShellWord(path+"/TXT/"+record) + "\n"
	}
	return out
}

// ovh is the access of a consumer key
// (https://help.ovhcloud.com/csm/en-api-getting-started-ovhcloud-api).
func (g grant) ovh() string {
	zone := g.zone()
	return "# The accessRules of the consumer key; they cover all records of the zone.\n" +
		`{"accessRules": [{"method": "POST", "path": "/domain/zone/` + zone + `/record"}, {"method": "POST", "path": "/domain/zone/` + zone +
		`/refresh"}, {"method": "DELETE", "path": "/domain/zone/` + zone + `/record/*"}]}` + "\n"
}

// sentence is for providers that can limit a credential to an account or a zone at best,
// after their own documentation.
func sentence(provider string) string {
	const all = "It covers all records there: delegation makes it small."
	switch provider {
	case "acme-dns":
		return "# An account of acme-dns can write one name and nothing else. It tells the CNAME to set when it is made."
	case "cloudflare":
		return "# An API token with the permissions Zone / DNS / Edit and Zone / Zone / Read,\n# for the zones of these names alone (Zone Resources: Include, Specific zone). " + all
	case "digitalocean":
		return "# A personal access token with the custom scopes of domain: create, read, update and delete. " + all
	case "dnsimple":
		return "# An API token of the account, not of the user. " + all
	case "gandiv5":
		return "# A personal access token for the domains alone, which may manage their technical configuration. " + all
	case "godaddy":
		return "# A production key of the account. " + all
	case "hetzner":
		return "# An API token with read and write access, of a project that holds these zones and nothing else. " + all
	case "httpreq":
		return "# What the endpoint allows is up to it: let it refuse every other name."
	case "linode":
		return "# A personal access token with the scope Domains: Read/Write. " + all
	case "namecheap":
		return "# The API key of the account, and the address of this machine in its list of allowed ones. " + all
	case "porkbun":
		return "# An API key, and API access switched on for these domains alone. " + all
	case "vultr":
		return "# The API key of a user who may manage DNS and nothing else. " + all
	}
	return "# A credential that may write these records and, if the provider can say so, no others: see its page at https://go-acme.github.io/lego/dns/" + provider + "/"
}
