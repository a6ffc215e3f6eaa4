// Two engines driven by @sabaki/gtp, as Sabaki does: one plays and is told to quit, one is ended while it thinks.
// node client.cjs PYTHON, with NODE_PATH; prints a line of JSON.
const {Controller} = require('@sabaki/gtp')

const python = process.argv[2]

function opened(...player) {
  const engine = new Controller(python, ['-m', 'fathom', 'gtp', ...player])
  engine.start()
  engine.ended = new Promise(resolve =>
    engine.process.once('exit', (code, signal) => resolve({code, signal, at: Date.now()}))
  )
  return engine
}

async function say(engine, name, ...args) {
  const {content, error} = await engine.sendCommand({name, args})
  return error ? `? ${content}` : content
}

async function main() {
  const plays = opened('random')
  const said = [await say(plays, 'name'), await say(plays, 'boardsize', '13')]
  said.push(await say(plays, 'genmove', 'black'), await say(plays, 'list_stones', 'black'))
  // quit with standard input left open: stop() kills what does not end by itself.
  await plays.stop(60000)
  const quit = await plays.ended

  const thinks = opened('rave', '--seconds', '60', '--threads', '1')
  await say(thinks, 'boardsize', '9')
  const move = say(thinks, 'genmove', 'black').catch(() => 'none')
  await new Promise(resolve => setTimeout(resolve, 500))
  const killedAt = Date.now()
  await thinks.kill()
  const killed = await thinks.ended
  console.log(JSON.stringify({said, quit, killed, took: killed.at - killedAt, move: await move}))
}

main()
