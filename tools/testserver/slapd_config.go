package testserver

// slapdConf is the configuration of a Slapd; DIR and CA.PEM stand for its paths.
const slapdConf = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
include DIR/ad.schema
pidfile DIR/pid
sizelimit unlimited
sortvals memberOf member
TLSCACertificateFile CA.PEM
TLSCertificateFile DIR/server.crt
TLSCertificateKeyFile DIR/server.key

database monitor
access to * by dn.exact="cn=root,dc=example,dc=org" read

database mdb
suffix "dc=example,dc=org"
rootdn "cn=root,dc=example,dc=org"
rootpw "secret of the root"
directory DIR/people
maxsize 268435456
dbnosync
index objectClass,uid,member,entryUUID eq
access to attrs=userPassword by anonymous auth
access to * by dn.exact="cn=berth,dc=example,dc=org" read by self read by anonymous auth
overlay memberof
overlay ppolicy

database mdb
suffix "dc=corp,dc=test"
rootdn "cn=root,dc=example,dc=org"
directory DIR/corp
maxsize 268435456
dbnosync
index objectClass,sAMAccountName,member,objectGUID eq
access to attrs=userPassword by anonymous auth
access to * by dn.exact="cn=berth,dc=example,dc=org" read by self read by anonymous auth
overlay memberof
memberof-group-oc group
`

// adSchema has what Active Directory adds to the standard, with its names and numbers.
const adSchema = `
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.782 NAME 'objectCategory' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP organizationalPerson STRUCTURAL
  MUST ( objectGUID $ sAMAccountName ) MAY ( userAccountControl $ objectCategory $ displayName $ mail ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL
  MUST ( cn $ objectGUID ) MAY ( member $ sAMAccountName ) )
`

// firstEntries are the entries that people and groups are below, and the service.
func firstEntries() []SlapdEntry {
	domain := func(dn, dc string) SlapdEntry {
		return SlapdEntry{dn, map[string][]string{"objectClass": {"dcObject", "organization"}, "dc": {dc}, "o": {dc}}}
	}
	unit := func(dn, ou string) SlapdEntry {
		return SlapdEntry{dn, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {ou}}}
	}
	return []SlapdEntry{
		domain(SlapdBase, "example"), unit(SlapdPeople, "people"), unit(SlapdGroups, "groups"),
		{SlapdService, map[string][]string{"objectClass": {"applicationProcess", "simpleSecurityObject"}, "cn": {"berth"}, "userPassword": {SlapdServiceSecret}}},
		domain(ADBase, "corp"), unit(ADPeople, "users"), unit(ADGroups, "groups"),
	}
}
