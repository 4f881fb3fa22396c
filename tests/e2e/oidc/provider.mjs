// An OpenID Connect provider for the tests: certified `oidc-provider`, with its own login page, which takes any password.
//   node provider.mjs PORT KEA_URL GROUPS      GROUPS as JSON: {"ada": ["ml"]}
import Provider from 'oidc-provider';

const [port, kea, groups] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const groupsOf = JSON.parse(groups);

const says = (id) => ({ preferred_username: id, groups: groupsOf[id] ?? [] });

const account = (id) => ({
  accountId: id,
  claims: async () => ({ sub: id, email: `${id}@example.org`, email_verified: true, ...says(id) }),
});

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'kea',
    client_secret: 'a secret of the tests',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    redirect_uris: [`${kea}/auth/sso/corp/callback`],
    post_logout_redirect_uris: [`${kea}/login`],
  }],
  claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
  cookies: { keys: ['keys of the tests'] },
  features: {
    deviceFlow: { enabled: true },
    // Access tokens as JWTs, for the resource whose host is asked for: `https://kea-api` is KEA itself.
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: async (_, resource) => ({
        scope: 'read', audience: new URL(resource).hostname, accessTokenFormat: 'jwt',
      }),
      useGrantedResource: async () => true,
    },
  },
  extraTokenClaims: async (_, token) => says(token.accountId),
  pkce: { required: () => true },
  findAccount: async (_, id) => account(id),
});

provider.listen(Number(port), '127.0.0.1', () => console.log(`ready at ${issuer}`));
