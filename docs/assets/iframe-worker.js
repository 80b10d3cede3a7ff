// Search from the file system: browsers allow no Worker there, so that an iframe runs its script instead.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.append(frame)
      const inside = (this.inside = frame.contentWindow)
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const load = src => new Promise(done => {
        const script = inside.document.createElement("script")
        Object.assign(script, { src, onload: done })
        inside.document.documentElement.append(script)
      })
      inside.importScripts = (...urls) => Promise.all(urls.map(load))
      this.ready = load(url)
    }
    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {}
  }
