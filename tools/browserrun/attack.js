// What a page of a stranger can try. It returns what it got that no page must
// get, and how much it tried.
async (targets, ownName) => {
  const got = []
  let tried = 0
  const manifest = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
  const paths = {
    data: ['/v2/', '/v2/_catalog', '/v2/private/app/tags/list', '/v2/private/app/manifests/keep-this-to-yourself', '/v2/evil/app/blobs/uploads/',
      '/v2/evil/app/manifests/1', '/v2/library/alpine/manifests/latest', '/token?service=localhost&scope=repository:evil/app:push', '/token'],
    admin: ['/v1/sessions', '/v1/sessions/current', '/v1/operators?operator_id=evil', '/v1/tenants', '/v1/tenants?tenant_id=evil', '/v1/tenants/default', '/openapi.json'],
    grpc: ['/', '/berth.admin.v1.AdminService/ListTenants'],
    ops: ['/metrics', '/healthz', '/readyz'],
  }
  const first = (promise) => Promise.race([promise, new Promise((done) => setTimeout(done, 1500))])
  const all = []
  const attempt = (what, f) => { tried++; all.push(first(f().catch(() => {}))) }

  for (const [listener, base] of Object.entries(targets)) {
    for (const path of paths[listener]) {
      const url = base + path
      for (const mode of ['cors', 'no-cors', 'same-origin']) {
        for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']) {
          for (const type of [null, 'text/plain', 'application/vnd.oci.image.index.v1+json']) {
            if (type && method !== 'POST' && (method !== 'PUT' || type === 'text/plain')) continue
            for (const credentials of mode === 'cors' ? ['omit', 'include'] : ['include']) {
              attempt(url, async () => {
                const body = method === 'GET' || method === 'HEAD' ? undefined : manifest
                const answer = await fetch(url, {method, mode, body, credentials, headers: type ? {'Content-Type': type} : {}})
                if (answer.type === 'opaque') return
                // By its own name a page reads what it gets: that must be a refusal.
                if (!ownName || answer.ok) got.push(`${method} ${url} (${mode}, ${type}): read status ${answer.status}`)
              })
            }
          }
        }
      }
      attempt(url, () => new Promise((done) => {
        const image = new Image()
        image.onload = () => { got.push(`${url} was shown as an image`); done() }
        image.onerror = done
        image.src = url
      }))
      attempt(url, () => new Promise((done) => {
        const script = document.createElement('script')
        script.onload = () => { got.push(`${url} was run as a script`); done() }
        script.onerror = done
        script.src = url
        document.body.append(script)
      }))
      attempt(url, () => new Promise((done) => {
        const socket = new WebSocket(url.replace('http', 'ws'))
        socket.onopen = () => { got.push(`${url} was opened as a WebSocket`); done() }
        socket.onerror = done
      }))
      attempt(url, () => new Promise((done) => {
        const events = new EventSource(url)
        events.onopen = () => { got.push(`${url} was opened as a stream of events`); done() }
        events.onerror = () => { events.close(); done() }
      }))
      attempt(url, async () => { navigator.sendBeacon(url, manifest) })
      for (const enctype of ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']) {
        for (const method of ['POST', 'GET']) {
          if (method === 'GET' && enctype !== 'text/plain') continue // it is the same
          attempt(url, () => new Promise((done) => {
            const frame = document.createElement('iframe')
            frame.name = 'f' + tried
            document.body.append(frame)
            const form = document.createElement('form')
            Object.assign(form, {action: url, method, enctype, target: frame.name})
            const field = document.createElement('input')
            Object.assign(field, {name: manifest.slice(0, -1) + ',"a":"', value: '"}'})
            form.append(field)
            document.body.append(form)
            frame.onload = done
            form.submit()
          }))
        }
      }
      if (all.length > 250) await Promise.all(all.splice(0))
    }
  }
  await Promise.all(all)
  return {got: [...new Set(got)], tried}
}
