//! Writes the seeds of every target into the directory that is named: `seeds DIRECTORY`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned());
    for property in keyward_fuzz::ALL {
        let target = Path::new(&directory).join(property.name);
        std::fs::create_dir_all(&target)?;
        for (number, seed) in (property.seeds)().iter().enumerate() {
            std::fs::write(target.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
